"""How far hypothesis looks. A plugin of pytest; the conftest.py at the top loads it.

Cores are shared, so a slow example proves nothing. CI looks at the same examples every time; people's machines look further.
"""

from hypothesis import settings

from tests.support.loud import is_ci

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if is_ci() else "here")
