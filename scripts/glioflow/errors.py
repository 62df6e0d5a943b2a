"""What goes wrong by something that the user can mend."""


class UserError(Exception):
    """Something the user can mend. The message names case, file, what was found and what would be right.

    Several problems are several arguments, a line each.
    """

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class DamagedFileError(UserError, ValueError):
    """A file of the results that does not hold what was written into it."""
