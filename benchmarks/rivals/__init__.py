"""Settings of the projects that the isolation benchmark compares, a module each. All install the same app."""
