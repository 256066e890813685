//! Small changes to an input.

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// Numbers at which programs go wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    7,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let length = input.len() as u64;
    let at = random.below(length + 1) as usize;
    let until = at + random.below((length + 1 - at as u64).min(64)) as usize;
    match random.below(9) {
        // The first bytes say what an input is.
        0 if !input.is_empty() => {
            let at = random.below(length.min(3)) as usize;
            input[at] = random.next() as u8;
        }
        1 | 2 if at < input.len() => input[at] ^= 1 << random.below(8),
        3 => {
            let number = match random.below(3) {
                0 => random.next(),
                _ => *random.pick(&EDGES),
            };
            let width = *random.pick(&[1, 2, 4, 8]);
            let end = (at + width).min(input.len());
            input[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
        }
        4 => drop(input.drain(at..until)),
        5 => {
            let piece = input[at..until].to_vec();
            drop(input.splice(at..at, piece));
        }
        6 => {
            let bytes: Vec<_> = (0..random.below(16)).map(|_| random.next() as u8).collect();
            drop(input.splice(at..at, bytes));
        }
        7 => {
            let from = random.below(other.len() as u64 + 1) as usize;
            let to = from + random.below((other.len() - from) as u64 + 1) as usize;
            drop(input.splice(at..until, other[from..to].iter().copied()));
        }
        _ => input.truncate(at),
    }
}
