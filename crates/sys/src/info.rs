//! Small facts of the running system: names, clock, randomness.

use crate::{Error, Result};

/// Host name as the kernel knows it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Release of the running kernel (`uname -r`).
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether this process may do everything (effective user id 0).
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// 128 random bits from the kernel as 32 lower-case hexadecimal digits.
pub fn random_id() -> Result<String> {
    let mut bytes = [0_u8; 16];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Error::io("read randomness from", "getrandom(2)")(error.into()))?;
    if got < bytes.len() {
        return Err(Error::Answer { what: "getrandom(2)".into(), detail: format!("{got} bytes") });
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Seconds since 1970-01-01 UTC.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Number of processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
