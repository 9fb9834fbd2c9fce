"""Erasure: what is where, how it goes, how its absence is proved, and the paper that says so."""
