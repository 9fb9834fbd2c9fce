from tests.staff import door, fleet_of_states, look, nobody, ops, peopled, viewer

__all__ = ["door", "fleet_of_states", "look", "nobody", "ops", "peopled", "viewer"]
