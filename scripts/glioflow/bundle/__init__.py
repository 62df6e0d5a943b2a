"""A study as one file: what goes into it, what never does, how it is read, made again and published."""
