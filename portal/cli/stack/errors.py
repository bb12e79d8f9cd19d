"""What may go wrong while the stack is set up."""


class StackError(Exception):
    """Something a person has to put right; the message says what is wrong and the way out."""
