//! What BACKUP_PROG_COMPRESS_OPTIONS asks for: options of GNU tar that choose a compression, with the options of its program.
//! This program compresses by itself, so what it cannot do the same way is refused by name. Text in, a value out.

use serde::Serialize;

/// A compression of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Zstandard.
    Zstd,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
    /// lz4.
    Lz4,
    /// No compression.
    None,
}

impl Codec {
    const ALL: [Self; 6] = [Self::Zstd, Self::Gzip, Self::Xz, Self::Bzip2, Self::Lz4, Self::None];

    /// The usual ending of its files behind `.tar`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Bzip2 => ".bz2",
            Self::Lz4 => ".lz4",
            Self::None => "",
        }
    }

    /// The codec whose files usually end so.
    pub(crate) fn of_suffix(suffix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| *codec != Self::None && codec.suffix() == suffix)
    }

    /// How BACKUP_PROG_COMPRESS_OPTIONS asks for it.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Zstd => "--zstd",
            Self::Gzip => "--gzip",
            Self::Xz => "--xz",
            Self::Bzip2 => "--bzip2",
            Self::Lz4 => "--use-compress-program=lz4",
            Self::None => "",
        }
    }

    fn levels(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Self::Zstd => -100..=22,
            Self::Gzip | Self::Xz => 0..=9,
            Self::Bzip2 => 1..=9,
            // Its slower levels are not written.
            Self::Lz4 => 1..=2,
            Self::None => 0..=0,
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compression {
    /// The compression.
    pub codec: Codec,
    /// Its level; `None` for the usual one.
    pub level: Option<i32>,
    /// Threads that its program was told to use; 0 stands for all processors.
    pub threads: Option<u64>,
    /// The ending of the archive's name behind `.tar`, with its dot.
    pub suffix: String,
}

impl Compression {
    pub(crate) fn usual(codec: Codec) -> Self {
        Self { codec, level: None, threads: None, suffix: codec.suffix().to_owned() }
    }
}

/// What is wrong, and what to write instead.
type Wrong = (String, String);

const INSTEAD: &str = "Write ( --zstd ), ( --gzip ), ( --xz ), ( --bzip2 ), ( --use-compress-program=\"PROGRAM -LEVEL\" ) with \
                       zstd, gzip, pigz, xz, bzip2 or lz4, or ( ) for none.";

/// Reads the elements of the list.
pub(crate) fn parse(elements: &[String]) -> Result<Compression, Wrong> {
    let mut words = Vec::new();
    let mut is_program = false;
    for element in elements {
        let element = element.trim();
        if is_program || element.starts_with("--use-compress-program=") || element.starts_with("-I") {
            words.push(element.to_owned());
        } else {
            words.extend(element.split_whitespace().map(str::to_owned));
        }
        is_program = matches!(element, "-I" | "--use-compress-program");
    }
    let mut words = words.into_iter();
    let mut chosen: Option<Compression> = None;
    while let Some(word) = words.next() {
        let next = match word.as_str() {
            "--zstd" => Compression::usual(Codec::Zstd),
            "--gzip" | "--gunzip" | "--ungzip" | "-z" => Compression::usual(Codec::Gzip),
            "--xz" | "-J" => Compression::usual(Codec::Xz),
            "--bzip2" | "-j" => Compression::usual(Codec::Bzip2),
            "-I" | "--use-compress-program" => {
                let given = words.next().unwrap_or_default();
                program(&given)?
            }
            "--lzop" | "--lzma" | "--lzip" | "--compress" | "-Z" | "--uncompress" => {
                return Err(foreign(word.trim_start_matches('-')));
            }
            other => match other.strip_prefix("--use-compress-program=").or(other.strip_prefix("-I")) {
                Some(given) => program(given)?,
                None => {
                    let message = format!("{} chooses no compression.", crate::quote(other));
                    let hint = format!("Further options of tar have no place here. {INSTEAD}");
                    return Err((message, hint));
                }
            },
        };
        if chosen.replace(next).is_some() {
            return Err(("It chooses two compressions.".into(), "Write one of them.".into()));
        }
    }
    Ok(chosen.unwrap_or_else(|| Compression::usual(Codec::None)))
}

fn foreign(program: &str) -> Wrong {
    let better = match program {
        "lzma" | "lzip" | "plzip" => "--xz compresses as well, ( --zstd ) is faster",
        _ => "( --use-compress-program=lz4 ) is as fast, and ( --zstd ) is smaller",
    };
    (
        format!("Archives cannot be compressed with {program} here."),
        format!("Use another compression: {better}. {INSTEAD}"),
    )
}

/// "pigz -6 -p 4".
fn program(given: &str) -> Result<Compression, Wrong> {
    let mut words = given.split_whitespace().map(|word| word.trim_matches(['\'', '"']));
    let name = words.next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    let codec = match name {
        "zstd" | "zstdmt" | "pzstd" => Codec::Zstd,
        "gzip" | "pigz" => Codec::Gzip,
        "xz" | "pxz" | "pixz" => Codec::Xz,
        "bzip2" | "pbzip2" | "lbzip2" => Codec::Bzip2,
        "lz4" => Codec::Lz4,
        "cat" => Codec::None,
        "" => return Err(("It names no program.".into(), INSTEAD.into())),
        other => return Err(foreign(other)),
    };
    let mut made = Compression::usual(codec);
    let threads = |text: &str| text.parse().map_err(|_| unknown(name, &format!("threads {text}")));
    while let Some(word) = words.next() {
        let level = match word {
            "--fast" if codec == Codec::Zstd => Some(-1),
            "--fast" => Some(1),
            "--best" => Some(9),
            "--ultra" | "--rsyncable" | "--no-name" | "--stdout" | "--to-stdout" | "--keep" | "--quiet"
            | "--force" | "--no-progress" | "--long" | "-c" | "-k" | "-q" | "-f" => None,
            "-p" | "--processes" if name == "pigz" => {
                made.threads = Some(threads(words.next().unwrap_or_default())?);
                None
            }
            "-n" if name == "lbzip2" => {
                made.threads = Some(threads(words.next().unwrap_or_default())?);
                None
            }
            "-n" if codec == Codec::Gzip => None,
            other => {
                let count =
                    ["--threads=", "--processes=", "-T"].iter().find_map(|one| other.strip_prefix(one));
                let count = count.or(if name.contains("pigz") || name == "pbzip2" || name == "pzstd" {
                    other.strip_prefix("-p")
                } else {
                    None
                });
                if let Some(count) = count {
                    made.threads = Some(threads(count)?);
                    None
                } else if codec == Codec::Zstd && other.starts_with("--long=") {
                    None
                } else if let Some(fast) = other.strip_prefix("--fast=").filter(|_| codec == Codec::Zstd) {
                    Some(-fast.parse::<i32>().map_err(|_| unknown(name, other))?)
                } else {
                    let digits =
                        other.strip_prefix('-').filter(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
                    Some(digits.and_then(|rest| rest.parse().ok()).ok_or_else(|| unknown(name, other))?)
                }
            }
        };
        if let Some(level) = level {
            if !codec.levels().contains(&level) {
                let (least, most) = codec.levels().into_inner();
                let message = format!("{name} has no level {level} here.");
                return Err((message, format!("Write a level from {least} to {most}.")));
            }
            made.level = Some(level);
        }
    }
    Ok(made)
}

fn unknown(program: &str, option: &str) -> Wrong {
    let message = format!("The option {} of {program} is not known here.", crate::quote(option));
    let hint = "This program compresses by itself: a level (-1 to -9, zstd -1 to -22) and a number of threads can be \
                chosen; leave other options out.";
    (message, hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(elements: &[&str]) -> Result<Compression, Wrong> {
        parse(&elements.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_forms_that_users_write() {
        type Case<'a> = (&'a [&'a str], Codec, Option<i32>, Option<u64>);
        let cases: [Case<'_>; 14] = [
            (&[], Codec::None, None, None),
            (&["--gzip"], Codec::Gzip, None, None),
            (&["--zstd"], Codec::Zstd, None, None),
            (&["--xz"], Codec::Xz, None, None),
            (&["--bzip2"], Codec::Bzip2, None, None),
            (&["--use-compress-program=pigz"], Codec::Gzip, None, None),
            (&["--use-compress-program=pigz -6"], Codec::Gzip, Some(6), None),
            (&["--use-compress-program=/usr/bin/pigz -p 4 --fast"], Codec::Gzip, Some(1), Some(4)),
            (&["--use-compress-program=zstd -T0 -10"], Codec::Zstd, Some(10), Some(0)),
            (&["-I", "zstd --ultra -22 --long=27"], Codec::Zstd, Some(22), None),
            (&["-Ilz4"], Codec::Lz4, None, None),
            (&["--use-compress-program", "xz -T2 -9"], Codec::Xz, Some(9), Some(2)),
            (&["--use-compress-program=lbzip2 -n 3"], Codec::Bzip2, None, Some(3)),
            (&["-z"], Codec::Gzip, None, None),
        ];
        for (elements, codec, level, threads) in cases {
            let made = read(elements).unwrap();
            assert_eq!((made.codec, made.level, made.threads), (codec, level, threads), "{elements:?}");
            assert_eq!(made.suffix, codec.suffix());
        }
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        for (elements, wanted) in [
            (&["--lzop"][..], "lzop"),
            (&["-I", "lzop -9"], "lzop"),
            (&["--use-compress-program=brotli"], "brotli"),
            (&["--lzma"], "lzma"),
            (&["--gzip", "--xz"], "two"),
            (&["--use-compress-program=xz -9e"], "-9e"),
            (&["--use-compress-program=lz4 -12"], "level 12"),
            (&["--use-compress-program=zstd -23"], "level 23"),
            (&["--use-compress-program=gzip -p x"], "-p"),
            (&["--use-compress-program=pigz -p x"], "threads x"),
            (&["--use-compress-program"], "no program"),
            (&["--sparse"], "--sparse"),
        ] {
            let (message, hint) = read(elements).unwrap_err();
            assert!(message.contains(wanted) && hint.ends_with('.'), "{elements:?}: {message} {hint}");
        }
    }
}
