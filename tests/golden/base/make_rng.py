"""Golden values of rng_test.cpp: FNV-1a, splitmix64 and xoshiro256** by their definitions; run it and compare."""
import math

MASK = (1 << 64) - 1


def splitmix64(state):
    state = (state + 0x9E3779B97F4A7C15) & MASK
    z = state
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return state, z ^ (z >> 31)


def stream_seed(seed, stream):
    name = 0xCBF29CE484222325
    for byte in stream.encode():
        name = ((name ^ byte) * 0x100000001B3) & MASK
    _, mixed = splitmix64(seed)
    return splitmix64(mixed ^ name)[1]


def rotl(x, k):
    return ((x << k) | (x >> (64 - k))) & MASK


class Rng:
    def __init__(self, seed, stream):
        state, self.s = stream_seed(seed, stream), []
        for _ in range(4):
            state, word = splitmix64(state)
            self.s.append(word)

    def next(self):
        s = self.s
        result, shifted = (rotl(s[1] * 5 & MASK, 7) * 9) & MASK, (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= shifted
        s[3] = rotl(s[3], 45)
        return result

    def uniform(self):
        return (self.next() >> 11) * 2.0 ** -53

    def normal(self):
        while True:
            x, y = 2 * self.uniform() - 1, 2 * self.uniform() - 1
            square = x * x + y * y
            if 0 < square < 1:
                return x * math.sqrt(-2 * math.log(square) / square)


if __name__ == "__main__":
    data, init = Rng(42, "data"), Rng(7, "init")
    print("words", *[f"{data.next()}ull" for _ in range(3)], sep=", ")
    print("seeds", stream_seed(42, "data"), stream_seed(0, ""))
    print("normals", repr(init.normal()), repr(init.normal()))
