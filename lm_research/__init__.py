"""Which data, which vectorization, which architecture, and is the difference real?

The rooms, in the order in which text flows through them::

    data ──► text ──► vectorizers ──► models ──► tasks ──► metrics ──► analysis

Importing this package imports nothing heavy: take what you need from its rooms.
"""

__version__ = "0.1.0"
