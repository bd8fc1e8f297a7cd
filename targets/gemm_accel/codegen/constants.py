"""The constant region: everything the program only reads, once each, wherever it is used."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

ALIGNMENT_BYTES = 64


@dataclass
class ConstantRegion:
    """Grows as values are added; equal bytes are kept once."""

    _data: bytearray = field(default_factory=bytearray)
    _addresses: dict[bytes, int] = field(default_factory=dict)

    def add(self, value: np.ndarray | bytes) -> int:
        """The address of these elements, little-endian in C order."""
        data = value if isinstance(value, bytes) else np.ascontiguousarray(value).tobytes()
        key = hashlib.blake2b(data, digest_size=16).digest() + len(data).to_bytes(8, "little")
        if key not in self._addresses:
            self._data += bytes(-len(self._data) % ALIGNMENT_BYTES)
            self._addresses[key] = len(self._data)
            self._data += data
        return self._addresses[key]

    @property
    def size(self) -> int:
        """The bytes of the whole region."""
        return -(-len(self._data) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES

    def data(self) -> bytes:
        """The whole region, padded to the alignment."""
        return bytes(self._data).ljust(self.size, b"\0")
