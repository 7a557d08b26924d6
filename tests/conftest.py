"""What all tests share: property tests take the same examples every time and have no deadline of their own."""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.load_profile("steady")
