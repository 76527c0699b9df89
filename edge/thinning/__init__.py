"""Leaving out readings that the others tell, within a stated error."""
