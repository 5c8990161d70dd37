"""What a command refuses: `tools.__main__` prints the sentence and ends with exit status 2."""


class CommandError(Exception):
    """Wrong use or a wrong environment: names the value at fault and says what to do."""
