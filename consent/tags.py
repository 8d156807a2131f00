"""Keyed tags: they tell equal things apart from others without saying what they are.

A plain hash of a phone number is no protection (a numbering plan is searched through in an hour), so every
tag is keyed with random bytes that the database was given when it was made.
"""

import hashlib


class Tags:
    """Makes 16-byte tags under one database's key."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hashlib.blake2b(digest_size=16, key=key)

    def __call__(self, *parts: str) -> bytes:
        """Return the tag of these parts in this order (BLAKE2b, RFC 7693, keyed)."""
        # Half a surrogate pair in a message's id has its tag, too; its answer says what is wrong with it.
        return self.of("\x00".join(parts).encode("utf-8", "surrogatepass"))

    def of(self, data: bytes) -> bytes:
        """Return the tag of some bytes."""
        tag = self._keyed.copy()
        tag.update(data)
        return tag.digest()
