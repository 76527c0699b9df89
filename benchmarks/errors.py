"""What stops a benchmark: said in a sentence, never a figure that was not measured."""


class BenchmarkError(Exception):
    """The measurement could not be made."""
