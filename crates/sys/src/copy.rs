//! Copying of memory. musl's `memcpy` on x86-64 is one `rep movsq`, which takes some 30 ns to begin: for the short copies that
//! make up most of our work (names, lines, headers) that is several times too long. On that target this one stands in its
//! place, for our code and for the C libraries in the program alike.
#![allow(unsafe_code, reason = "a function that every program has is replaced, which only the linker can do")]

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(include_str!("copy.s"));

// Whoever asks for one of the two in libc gets both from one object: so both are named here.
#[cfg(all(target_arch = "x86_64", target_env = "musl"))]
std::arch::global_asm!(
    ".globl memcpy",
    ".set memcpy, rear_memmove",
    ".globl memmove",
    ".set memmove, rear_memmove"
);

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    unsafe extern "C" {
        fn rear_memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
    }

    /// Copies within a buffer, as `copy_within`.
    fn copy(buffer: &mut [u8], from: usize, to: usize, count: usize) {
        assert!(from + count <= buffer.len() && to + count <= buffer.len());
        // SAFETY: both ranges lie in the buffer, which is borrowed exclusively.
        let returned = unsafe {
            let base = buffer.as_mut_ptr();
            rear_memmove(base.add(to), base.add(from), count).offset_from(base)
        };
        assert_eq!(usize::try_from(returned), Ok(to));
    }

    #[test]
    fn every_length_and_every_overlap_is_copied_and_nothing_else() {
        const SPACE: usize = 700;
        let fresh: Vec<u8> = (0..SPACE).map(|at| (at * 7 % 251) as u8).collect();
        for count in (0..200).chain([255, 256, 257, 319, 320, 321]) {
            for from in [0, 1, 15, 64, 130, 200] {
                for to in (0..330).step_by(if count < 70 { 1 } else { 3 }) {
                    let (mut ours, mut theirs) = (fresh.clone(), fresh.clone());
                    copy(&mut ours, from, to, count);
                    theirs.copy_within(from..from + count, to);
                    assert!(ours == theirs, "{count} bytes from {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn long_copies_of_both_directions() {
        let fresh: Vec<u8> =
            (0_u32..200_000).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (from, to, count) in
            [(0, 100_000, 99_999), (1, 0, 150_001), (0, 1, 150_001), (5, 70, 131_072), (70, 5, 131_072)]
        {
            let (mut ours, mut theirs) = (fresh.clone(), fresh.clone());
            copy(&mut ours, from, to, count);
            theirs.copy_within(from..from + count, to);
            assert!(ours == theirs, "{count} bytes from {from} to {to}");
        }
    }
}
