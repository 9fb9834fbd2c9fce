from tests.journeys.browsing import admin_port, desk
from tests.staff import door, fleet_of_states, look, peopled

__all__ = ["admin_port", "desk", "door", "fleet_of_states", "look", "peopled"]
