"""One transaction and everything that can be asked of it."""

from paycore.store.admin import Admin
from paycore.store.feeding import Feeding
from paycore.store.reading import Reading
from paycore.store.tasks import Tasks


class Unit(Reading, Feeding, Tasks, Admin):
    """One transaction. Each method is a fixed number of statements, however many rows it is about.

    Raises StoreUnavailable, Conflict, LostClaim or StoreBroken, and nothing of the driver's. After any of them the
    transaction is to be given up: leave the `with` block by the exception.
    """
