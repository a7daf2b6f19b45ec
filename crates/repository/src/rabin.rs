//! Cuts content where a rolling Rabin fingerprint says so, with the parameters of restic: what restic stored before is found
//! again. It holds no content and reads none.

use crate::crypto::random;
use crate::error::Result;

const WINDOW: usize = 64;
/// No chunk but the last of a file is shorter, in bytes.
pub const MIN: usize = 512 << 10;
/// No chunk is longer, in bytes.
pub const MAX: usize = 8 << 20;
/// One place in so many is a border.
const MASK: u64 = (1 << 20) - 1;
/// Degree of the polynomials that restic makes.
const DEGREE: u32 = 53;

/// Stretches that are searched side by side: a step of one waits for a table, and the others go on meanwhile.
const LANES: usize = 4;
/// Length of such a stretch in bytes. A border in the first makes the work on the others void.
const STRETCH: usize = 8 << 10;

/// The tables for one polynomial.
#[derive(Clone)]
pub struct Chunker {
    /// What a byte that leaves the window takes out of the fingerprint after the step. Shifting and reducing are linear: it need
    /// not be taken out before.
    leave: Box<[u64; 256]>,
    modulo: Box<[u64; 256]>,
    shift: u32,
}

fn degree(polynomial: u64) -> u32 {
    63_u32.saturating_sub(polynomial.leading_zeros())
}

/// The remainder of a polynomial over GF(2).
fn remainder(mut value: u64, by: u64) -> u64 {
    while value != 0 && degree(value) >= degree(by) {
        value ^= by << (degree(value) - degree(by));
    }
    value
}

/// The product of two remainders.
fn multiply(one: u64, mut other: u64, by: u64) -> u64 {
    let (mut factor, mut product) = (one, 0);
    while other != 0 {
        if other & 1 == 1 {
            product ^= factor;
        }
        factor = remainder(factor << 1, by);
        other >>= 1;
    }
    product
}

/// Whether a polynomial of degree 53 has no divisors. 53 is a prime: it has none when x^(2^53) = x modulo it, and neither
/// x nor x + 1 divides it.
fn is_irreducible(polynomial: u64) -> bool {
    if degree(polynomial) != DEGREE || polynomial & 1 == 0 || polynomial.count_ones().is_multiple_of(2) {
        return false;
    }
    let mut power = 2;
    for _ in 0..DEGREE {
        power = multiply(power, power, polynomial);
    }
    power == 2
}

/// A random irreducible polynomial for a new repository.
pub fn polynomial() -> Result<u64> {
    loop {
        let bits = u64::from_le_bytes(random::<8>()?);
        let candidate = bits & ((1 << DEGREE) - 1) | 1 << DEGREE | 1;
        if is_irreducible(candidate) {
            return Ok(candidate);
        }
    }
}

impl Chunker {
    /// For that polynomial; `None` where its degree is not 9 to 55, which no repository has.
    pub fn new(polynomial: u64) -> Option<Self> {
        let degree = degree(polynomial);
        if !(9..=55).contains(&degree) {
            return None;
        }
        let append = |hash: u64, byte: u64| remainder(hash << 8 | byte, polynomial);
        let (mut out, mut modulo) = (Box::new([0; 256]), Box::new([0; 256]));
        for byte in 0..256_u64 {
            let slot = usize::try_from(byte).unwrap_or(0);
            out[slot] = (1..WINDOW).fold(append(0, byte), |hash, _| append(hash, 0));
            modulo[slot] = remainder(byte << degree, polynomial) | byte << degree;
        }
        let mut chunker = Self { leave: Box::new([0; 256]), modulo, shift: degree - 8 };
        chunker.leave = Box::new(std::array::from_fn(|byte| chunker.step(out[byte], 0, 0)));
        Some(chunker)
    }

    /// The fingerprint of the window after the next byte.
    #[inline]
    fn step(&self, digest: u64, old: u8, new: u8) -> u64 {
        #[allow(clippy::cast_possible_truncation, reason = "the low eight bits are meant")]
        let index = (digest >> self.shift) as u8;
        (digest << 8) ^ self.modulo[usize::from(index)] ^ (self.leave[usize::from(old)] ^ u64::from(new))
    }

    /// The fingerprint of a window: it depends on nothing before.
    fn whole(&self, window: &[u8]) -> u64 {
        window.iter().fold(0, |digest, byte| self.step(digest, 0, *byte))
    }

    /// Where the first chunk of the content ends, as a number of bytes; all of it where no border was found in it. To find a
    /// border, give at least [`MAX`] bytes or all that is left.
    pub fn cut(&self, content: &[u8]) -> usize {
        if content.len() <= MIN {
            return content.len();
        }
        let content = &content[..content.len().min(MAX)];
        if self.whole(&content[MIN - WINDOW..MIN]) & MASK == 0 {
            return MIN;
        }
        let mut at = MIN;
        while let Some(block) = content[at - WINDOW..].first_chunk() {
            if let Some(border) = self.search(block) {
                return at + border;
            }
            at += LANES * STRETCH;
        }
        let mut digest = self.whole(&content[at - WINDOW..at]);
        for (old, new) in content[at - WINDOW..].iter().zip(&content[at..]) {
            digest = self.step(digest, *old, *new);
            at += 1;
            if digest & MASK == 0 {
                break;
            }
        }
        at
    }

    /// The first border in the stretches behind the window that the block begins with.
    fn search(&self, block: &[u8; WINDOW + LANES * STRETCH]) -> Option<usize> {
        let mut digests: [u64; LANES] =
            std::array::from_fn(|lane| self.whole(&block[lane * STRETCH..lane * STRETCH + WINDOW]));
        for at in 0..STRETCH {
            for (lane, digest) in digests.iter_mut().enumerate() {
                let place = lane * STRETCH + at;
                *digest = self.step(*digest, block[place], block[place + WINDOW]);
            }
            if digests.iter().any(|digest| digest & MASK == 0) {
                return Some(self.first(block, digests, at));
            }
        }
        None
    }

    /// The first border, when one of the stretches has one at that step: another may have one that comes before it, at a later step.
    #[cold]
    fn first(&self, block: &[u8; WINDOW + LANES * STRETCH], digests: [u64; LANES], step: usize) -> usize {
        for (lane, mut digest) in digests.into_iter().enumerate() {
            let mut place = lane * STRETCH + step;
            while digest & MASK != 0 && !(place + 1).is_multiple_of(STRETCH) {
                place += 1;
                digest = self.step(digest, block[place], block[place + WINDOW]);
            }
            if digest & MASK == 0 {
                return place + 1;
            }
        }
        LANES * STRETCH
    }
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chunker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_irreducible() {
        // The one of restic's own tests.
        assert!(is_irreducible(0x003D_A335_8B4D_C173));
        assert!(!is_irreducible(0x003D_A335_8B4D_C171));
        assert!(!is_irreducible(1 << 53 | 1));
        assert!(is_irreducible(polynomial().unwrap()));
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 23_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    #[test]
    fn stretches_side_by_side_show_the_border_that_one_place_after_the_other_shows() {
        const POLYNOMIAL: u64 = 0x003D_A335_8B4D_C173;
        let chunker = Chunker::new(POLYNOMIAL).unwrap();
        let content = noise(12 << 20);
        // As the fingerprint is defined: the window as a polynomial, its remainder; without any table.
        let is_border = |at: usize| {
            let window = content[at - WINDOW..at].iter();
            window.fold(0, |hash, byte| remainder(hash << 8 | u64::from(*byte), POLYNOMIAL)) & MASK == 0
        };
        // One place after the other, with the tables.
        let places = |content: &[u8]| {
            let mut digest = chunker.whole(&content[MIN - WINDOW..MIN]);
            let mut at = MIN;
            while digest & MASK != 0 && at < content.len().min(MAX) {
                digest = chunker.step(digest, content[at - WINDOW], content[at]);
                at += 1;
            }
            at
        };
        let (mut at, mut borders) = (0, 0);
        while at < content.len() {
            let length = chunker.cut(&content[at..]);
            at += length;
            if at < content.len() && length < MAX {
                assert!(is_border(at));
                borders += 1;
            }
        }
        assert!(borders > 5);
        // Borders in every stretch, at the ends of stretches, and behind the last whole one.
        for begin in (0..MIN).step_by(7919) {
            assert_eq!(chunker.cut(&content[begin..]), places(&content[begin..]), "{begin}");
        }
        let border = chunker.cut(&content);
        for length in [border - 1, border, border + 1, MIN + 1, MIN + LANES * STRETCH] {
            assert_eq!(chunker.cut(&content[..length]), places(&content[..length]), "{length}");
        }
        for nearer in (0..4 * LANES * STRETCH).step_by(STRETCH / 2) {
            let place = border.saturating_sub(MIN + nearer);
            assert_eq!(chunker.cut(&content[place..]), places(&content[place..]), "{nearer}");
        }
    }

    #[test]
    fn the_same_content_is_cut_at_the_same_places_wherever_it_begins() {
        let chunker = Chunker::new(0x003D_A335_8B4D_C173).unwrap();
        let content = noise(20 << 20);
        let cuts = |content: &[u8]| {
            let (mut at, mut cuts) = (0, Vec::new());
            while at < content.len() {
                let length = chunker.cut(&content[at..]);
                assert!(length <= MAX && (length >= MIN || at + length == content.len()));
                at += length;
                cuts.push(content.len() - at);
            }
            cuts
        };
        let (all, shifted) = (cuts(&content), cuts(&content[1000..]));
        assert!(all.len() > 5);
        // Counted from the end; after the first border both agree.
        assert!(shifted.iter().filter(|cut| all.contains(cut)).count() >= all.len() - 3);
        assert_eq!(chunker.cut(&[]), 0);
        assert_eq!(chunker.cut(&vec![1; MIN]), MIN);
        assert!(Chunker::new(5).is_none());
    }
}
