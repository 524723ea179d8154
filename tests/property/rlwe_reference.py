"""BFV over Python integers, from the text of `mpc/schemes/rlwe/README.md` and of its wire format: slow, and meant to be
read. It shares no code with the product; every kernel is compared with it.
"""

import hashlib
import hmac
import math
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HEADER = struct.Struct("<4sBBHHHI")
PUBLIC_KEY, PUBLIC, SEEDED, SUM, RESULT = 1, 2, 3, 4, 5


def keystream(key, start, count):
    """Words of AES-256 in counter mode."""
    cipher = Cipher(algorithms.AES(key), modes.CTR((start // 2).to_bytes(16, "big"))).encryptor()
    data = cipher.update(bytes(8 * (count + start % 2)))
    return list(struct.unpack(f"<{count + start % 2}Q", data))[start % 2 :]


def hkdf_32(key, info):
    return hmac.new(key, info + b"\x01", hashlib.sha256).digest()


def least_root(n, q):
    """The least element of order 2n."""
    candidate = next(r for g in range(2, q) if pow(r := pow(g, (q - 1) // (2 * n), q), n, q) == q - 1)
    return min(pow(candidate, k, q) for k in range(1, 2 * n, 2))


def reverse_bits(i, n):
    return int(bin(n + i)[:2:-1], 2)


def _fft(a, w, q):
    if len(a) == 1:
        return a
    even, odd = _fft(a[::2], w * w % q, q), _fft(a[1::2], w * w % q, q)
    out, power = [0] * len(a), 1
    for k in range(len(even)):
        out[k], out[k + len(even)] = (even[k] + power * odd[k]) % q, (even[k] - power * odd[k]) % q
        power = power * w % q
    return out


def values(a, q):
    """A polynomial at the odd powers of the least root, in bit-reversed order."""
    n = len(a)
    root = least_root(n, q)
    natural = _fft([x * pow(root, i, q) % q for i, x in enumerate(a)], root * root % q, q)
    return [natural[reverse_bits(i, n)] for i in range(n)]


def coefficients(evaluations, q):
    """The polynomial with these values."""
    n = len(evaluations)
    root = least_root(n, q)
    natural = [evaluations[reverse_bits(i, n)] for i in range(n)]
    twisted = _fft(natural, pow(root, -2, q), q)
    return [x * pow(n, -1, q) * pow(root, -i, q) % q for i, x in enumerate(twisted)]


def product(a, b):
    """The product of integer polynomials modulo X^n + 1, by one product of long integers (Kronecker)."""
    n = len(a)
    size = 2 + (max(map(abs, a)).bit_length() + max(map(abs, b)).bit_length() + n.bit_length()) // 8

    def long(v):
        up, down = (b"".join(max(0, sign * x).to_bytes(size, "little") for x in v) for sign in (1, -1))
        return int.from_bytes(up, "little") - int.from_bytes(down, "little")

    half = 1 << 8 * size - 1
    lift = int.from_bytes(half.to_bytes(size, "little") * (2 * n), "little")
    data = (long(a) * long(b) + lift).to_bytes(2 * n * size + 1, "little")
    digits = [int.from_bytes(data[i : i + size], "little") - half for i in range(0, 2 * n * size, size)]
    return [x - y for x, y in zip(digits[:n], digits[n:], strict=True)]


def pack(residues):
    """50 bits each: coefficient 256 g + 8 r + c is number r of column c of group g; columns' words are interleaved."""
    words = []
    for g in range(0, len(residues), 256):
        columns = [sum(residues[g + 8 * r + c] << 50 * r for r in range(32)) for c in range(8)]
        words += [columns[c] >> 64 * w & (1 << 64) - 1 for w in range(25) for c in range(8)]
    return struct.pack(f"<{len(words)}Q", *words)


def unpack(data):
    words, out = struct.unpack(f"<{len(data) // 8}Q", data), []
    for g in range(0, len(words), 200):
        columns = [sum(words[g + 8 * w + c] << 64 * w for w in range(25)) for c in range(8)]
        out += [columns[c] >> 50 * r & (1 << 50) - 1 for r in range(32) for c in range(8)]
    return out


class Reference:
    """The scheme for one parameter set."""

    def __init__(self, parameters):
        self.parameters, self.n, self.t = parameters, parameters.lattice.degree, parameters.plain_modulus
        self.moduli, self.q = parameters.lattice.moduli, math.prod(parameters.lattice.moduli)
        rejected = self.n * (1 - min(self.moduli) / 2**50)
        self.region = self.n + 2 * (int(rejected + 16 * rejected**0.5) // 2 + 32)
        self.size = self.n * 50 // 8

    def crt(self, residues):
        """Residues by prime to integers in [0, q)."""
        factors = [(self.q // p) * pow(self.q // p, -1, p) for p in self.moduli]
        return [
            sum(f * x for f, x in zip(factors, column, strict=True)) % self.q for column in zip(*residues, strict=True)
        ]

    def secret(self, material):
        """The ternary secret of a key's 32 bytes."""
        stream = hkdf_32(material, b"sealroom/v1/rlwe/secret" + self.parameters.digest())
        return [(3 * w >> 64) - 1 for w in keystream(stream, 0, self.n)]

    def uniform(self, seed, index):
        """The uniform polynomial of a seed, by prime, in evaluation form."""
        out = []
        for i, p in enumerate(self.moduli):
            start = (index * len(self.moduli) + i) * self.region
            accepted = [v for w in keystream(seed, start, self.region) if (v := w % 2**50) < p]
            out.append(accepted[: self.n])
        return out

    def halves(self, data):
        """Both polynomials of a key or ciphertext in evaluation form, by prime."""
        kind, index = data[5], HEADER.unpack_from(data)[6]
        seeded = kind in (PUBLIC_KEY, SEEDED)
        body = data[48:] if seeded else data[16:]
        polynomials = [unpack(body[i : i + self.size]) for i in range(0, len(body), self.size)]
        k = len(self.moduli)
        return polynomials[:k], self.uniform(data[16:48], index) if seeded else polynomials[k:]

    def phase(self, data, secret):
        """c0 + c1 s modulo q, as integers."""
        c0, c1 = self.halves(data)
        parts = []
        for p, x, y in zip(self.moduli, c0, c1, strict=True):
            s = values([v % p for v in secret], p)
            parts.append(coefficients([(a + b * c) % p for a, b, c in zip(x, y, s, strict=True)], p))
        return self.crt(parts)

    def decrypt(self, data, secret):
        """The message."""
        return [(2 * self.t * x + self.q) // (2 * self.q) % self.t for x in self.phase(data, secret)]

    def noise(self, data, secret, message):
        """The largest |v| in c0 + c1 s = (q / t) m + v, rounded up."""
        worst = 0
        for x, m in zip(self.phase(data, secret), message, strict=True):
            scaled = (self.t * x - self.q * m) % (self.t * self.q)
            worst = max(worst, min(scaled, self.t * self.q - scaled))
        return -(-worst // self.t)

    def encode(self, message):
        return [self.q * m // self.t for m in message]

    def encrypt(self, message, secret, noise, seed, *, code, index=0):
        """A seeded ciphertext with chosen noise."""
        uniform, body = self.uniform(seed, index), b""
        for p, a in zip(self.moduli, uniform, strict=True):
            s, m = values([v % p for v in secret], p), [x + e for x, e in zip(self.encode(message), noise, strict=True)]
            b = [(x - y * z) % p for x, y, z in zip(values([v % p for v in m], p), a, s, strict=True)]
            body += pack(b)
        return HEADER.pack(b"RLWE", 1, SEEDED, self.parameters.wire_id, code, 0, index) + seed + body
