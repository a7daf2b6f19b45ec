//! Whatever our parser accepts means the same to bash: random assignments, read by both.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::process::Command;

use config::{Sources, load};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Sources `FILE` for each argument in a subshell and prints its values, NUL-separated.
const SCRIPT: &str = r#"
HOSTNAME=web1 MODULES=(all_modules) FIRST=
for file; do
    (
        KERNEL_CMDLINE= KEYMAP= PROGS=() TTY_ROOT_PASSWORD=
        . "$file" >/dev/null 2>&1 </dev/null
        printf '%s\0' "$KEYMAP" "$TTY_ROOT_PASSWORD" "${#PROGS[@]}" "${PROGS[@]}"
    )
done
"#;

fn ours(dir: &std::path::Path, text: &str) -> Option<Vec<String>> {
    std::fs::write(dir.join("local.conf"), text).unwrap();
    let settings = load(&Sources { dir, extra: &[], hostname: "web1" }).ok()?.settings;
    let secret = settings.tty_root_password.map(|s| s.expose().to_owned()).unwrap_or_default();
    // The list without its empty elements, which name no program.
    let mut values = vec![settings.keymap, secret];
    values.extend(settings.progs);
    Some(values)
}

#[test]
fn what_is_accepted_means_the_same_to_bash() {
    let dir = tempfile::tempdir().unwrap();
    let piece = prop_oneof![
        4 => "[a-z0-9äß]{1,3}",
        2 => "'[^'\0\r]{0,4}'",
        2 => "\"([a-z ]|\\\\[\"\\\\$`a\n]|\\$[ /%]|[*~#;{}'])*\"",
        2 => "\\$'([a-z ]|\\\\[abefnrtv\\\\'\"?]|\\\\[1-7][0-7]?|\\\\x[1-7][0-9a-f]?|\\\\u00e[0-9]|\\\\q|\\\\c[a-d])*'",
        1 => "\\\\[ -~]",
        1 => "\\\\\n",
        1 => "[~*?{},.:=+!%^@\\[\\]#-]",
        1 => Just("$KEYMAP".to_owned()),
        1 => Just("\"${KEYMAP}\"".to_owned()),
        1 => Just("\"$KEYMAP$HOSTNAME/x\"".to_owned()),
        1 => Just("\"${MODULES[@]}\"".to_owned()),
        1 => Just("$".to_owned()),
    ];
    let word = prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat());
    let gap = prop_oneof![Just(" "), Just("\n"), Just("\t "), Just(" # it's\n"), Just(" \\\n ")];
    let list = prop::collection::vec((word.clone(), gap), 0..4)
        .prop_map(|words| words.into_iter().map(|(word, gap)| word + gap).collect::<String>());
    let end = prop_oneof![Just("\n"), Just(";"), Just(" # \"x\n"), Just(" ")];
    let file = (word.clone(), end.clone(), word.clone(), end, list.clone(), list, word).prop_map(
        |(keymap, end1, password, end2, list1, list2, more)| {
            format!("KEYMAP={keymap}{end1}export TTY_ROOT_PASSWORD={password}{end2}PROGS=({list1})\nPROGS+=( {list2} );KEYMAP+={more}")
        },
    );
    let mut runner = TestRunner::deterministic();
    let mut cases = Vec::new();
    // REAR_BASH_CASES=100000 looks harder.
    let cases_to_try = std::env::var("REAR_BASH_CASES").map_or(300, |n| n.parse().unwrap());
    for number in 0..cases_to_try {
        let text = file.new_tree(&mut runner).unwrap().current();
        if let Some(values) = ours(dir.path(), &text) {
            let path = dir.path().join(format!("case-{number}"));
            std::fs::write(&path, &text).unwrap();
            cases.push((path, text, values));
        }
    }
    assert!(cases.len() > 30, "too few cases are accepted: {}", cases.len());
    let output = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", SCRIPT, "bash"])
        .args(cases.iter().map(|(path, _, _)| path))
        // As bash reads the files on its users' machines.
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let mut fields =
        output.stdout.split(|byte| *byte == 0).map(|field| String::from_utf8_lossy(field).into_owned());
    for (_, text, ours) in cases {
        let mut bash = vec![fields.next().unwrap(), fields.next().unwrap()];
        let count: usize = fields.next().unwrap().parse().unwrap();
        bash.extend(fields.by_ref().take(count).filter(|item| !item.is_empty()));
        assert_eq!(ours, bash, "{text}");
    }
}
