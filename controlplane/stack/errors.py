class StackError(Exception):
    """The stack cannot start or stop. The message names the part, the trouble and the cure."""
