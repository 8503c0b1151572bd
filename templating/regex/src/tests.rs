#![allow(clippy::unwrap_used)]
use super::*;

fn flags(text: &str) -> Flags {
    Flags { ignore_case: text.contains('i'), multiline: text.contains('m'), unicode: text.contains('u') }
}

const PATTERNS: &[&str] = &[
    "^[a-z0-9-]+$",
    "^[a-z0-9]+(?:-[a-z0-9]+)*$",
    "^([a-z0-9]+-?)+$",
    r"^\d{3,5}$",
    r"^\w+\.\w+$",
    r"^[\w.-]+@[\w-]+$",
    r"[\w-.]",
    r"[\d-x]",
    r"[a-\d]",
    r"\s",
    r"^\S+$",
    "^.$",
    "^..$",
    "^.*$",
    "a|b",
    "^$",
    "",
    "[^a]",
    r"^[^\s/]+$",
    r"^[\d_]{2}$",
    r"\bx\b",
    r"\Bx",
    r"x\b(?=y)",
    r"^\W$",
    "^[+*?.]$",
    r"^[\]\[]$",
    "^[a-c&&b]$",
    "^[~~!]$",
    "^[+--]$",
    "^[-a]$",
    "^[a-]$",
    r"^\/x$",
    "^é+$",
    r"^[à-ü]$",
    r"^\t$",
    "a{2}",
    "a{2,}?b",
    "a{,2}",
    "x{",
    "]",
    "^(a|b)?c$",
    "#x y",
    "^[ -~]*$",
    r"^\$\{x\}$",
    "(?:^|,)x(?=y)",
    r"^(.)\1$",
    r"(a)?b\1",
    r"(?<l>.)\k<l>",
    "(?<!a)b",
    "(?<=a+)b",
    r"^\p{L}+$",
    "^(?!x)",
    r"[\s\S]",
    "[^]",
    "[]",
    r"\x41|\u00e9",
    "😀",
    "[😀]",
    r"\ud83d",
    r"\ud83d\ude00",
    r"[\b]",
    r"\0",
    r"[^\W]",
    r"(b)|(c)",
    "É",
    "[^A]",
];

const TEXTS: &[&str] = &[
    "", "a", "b", "c", "ac", "bc", "x", "-", "--", "&", "~", "!", "]", "[", "+", ".", "_", "12", "123", "a-b", "a--b",
    "abc-1", "A", "é", "éé", "😀", "ü", " ", "\t", "\n", "a\nb", "\u{2028}", "\u{feff}", "a b", "a.b", "a@b", "/x",
    "x,y", "aa", "aab", "#x y", "${x}", ",xy", "__", "\u{b}", "\u{180e}", "x y", "yxy", "d", "a{,2}", "x{", "\0",
    "\u{8}", "aba", "é😀b", "a\rb\n", "AB",
];

/// `regress` is the reference: small texts can't hurt it.
#[test]
fn the_engines_agree_with_javascript() {
    let (mut compared, mut bounded) = (0, 0);
    for given in ["", "u", "i", "m", "im"] {
        for pattern in PATTERNS {
            let Ok(exact) = regress::Regex::with_flags(pattern, given) else {
                assert!(matches!(Regex::new(pattern, flags(given)), Err(Invalid::Syntax(_))), "{pattern}");
                continue;
            };
            let ours = match Regex::new(pattern, flags(given)) {
                Ok(ours) => ours,
                Err(_) if given.contains('u') && pattern.contains(r"\ud83d") => continue,
                Err(_) if given.contains('i') && (pattern.contains(r"\1") || pattern.contains(r"\k")) => continue,
                Err(error) => panic!("{pattern} {given}: {error}"),
            };
            // Without `u` JavaScript sees pairs of units, `regress` doesn't.
            if given != "u" && (pattern.contains('😀') || pattern.contains(r"\ude00")) {
                continue;
            }
            compared += 1;
            bounded += usize::from(ours.backtracks());
            for text in TEXTS {
                if given == "u" {
                    assert_eq!(ours.is_match(text).unwrap(), exact.find(text).is_some(), "{pattern} on {text:?}");
                    continue;
                }
                let units: Vec<u16> = text.encode_utf16().collect();
                let prepared = Text::new(&units);
                for start in 0..=units.len() {
                    let expected = exact.find_from_ucs2(&units, start).next();
                    let found = ours.find_at(&prepared, start).unwrap();
                    let place = format!("{pattern} {given} on {text:?} from {start}");
                    assert_eq!(
                        found.as_ref().map(|found| found.groups().collect::<Vec<_>>()),
                        expected.as_ref().map(|found| found.groups().collect()),
                        "{place}"
                    );
                    let names =
                        |found: &Match| found.named_groups().map(|(n, r)| (n.to_string(), r)).collect::<Vec<_>>();
                    let expected_names =
                        expected.map(|found| found.named_groups().map(|(n, r)| (n.to_string(), r)).collect());
                    assert_eq!(found.as_ref().map(names), expected_names, "{place}");
                }
            }
        }
    }
    assert!(compared > 200 && bounded > 20, "{compared} {bounded}");
}

#[test]
fn pairs_are_two_units_without_the_flag() {
    let units: Vec<u16> = "a😀b".encode_utf16().collect();
    for (pattern, range) in [("😀", 1..3), ("[😀]", 1..2), ("^a..b$", 0..4), (r"\ude00", 2..3), ("😀{2}|b", 3..4)]
    {
        let found = Regex::new(pattern, Flags::default()).unwrap().find_at(&Text::new(&units), 0).unwrap().unwrap();
        assert_eq!(found.start()..found.end(), range, "{pattern}");
    }
}

#[test]
fn work_is_bounded() {
    let long = format!("{}!", "a".repeat(50_000));
    for pattern in ["^([a-z0-9]+-?)+$", "^(a+)+$", "^(a|a)*$", r"^(\w+\s?)*$"] {
        assert_eq!(Regex::new(pattern, Flags::default()).unwrap().is_match(&long), Ok(false), "{pattern}");
    }
    let mut given_up = 0;
    for pattern in [r"^(a+)+\1$", r"^(?:(?=a)a+)+$", r"(a*)*\1b", r"^(?:(a+)(?=a))+\1!\1$"] {
        let found = Regex::new(pattern, Flags::default()).unwrap().is_match(&long);
        assert_ne!(found, Ok(true), "{pattern}");
        given_up += usize::from(found == Err(TooMuchWork));
    }
    assert!(given_up > 0);
}

#[test]
fn huge_patterns_are_refused() {
    let deep = format!("{}{}", "(".repeat(20_000), ")".repeat(20_000));
    let disguised = format!("{}{}", r"(\)".repeat(10_000), ")".repeat(10_000));
    let long = "a".repeat(70_000);
    for pattern in [deep.as_str(), &disguised, &long, "(?:(?:a{1000}){1000}){1000}", "(?i:a)"] {
        assert!(Regex::new(pattern, Flags::default()).is_err());
    }
    for pattern in
        ["|".repeat(1_000), "|".repeat(60_000), "a?".repeat(30_000), "[a]".repeat(20_000), "(a)".repeat(20_000)]
    {
        let _ = Regex::new(&pattern, Flags::default());
    }
}

#[test]
fn a_quick_search_gives_up_early() {
    let regex = Regex::new(r"(a*)*\1b", Flags::default()).unwrap();
    let units: Vec<u16> = "aaab".encode_utf16().collect();
    assert_eq!(regex.find_quickly(&Text::new(&units), 0), regex.find_at(&Text::new(&units), 0));
    let regex = Regex::new("(?=a*b)a", Flags::default()).unwrap();
    let units: Vec<u16> = "a".repeat(2000).encode_utf16().collect();
    assert_eq!(regex.find_quickly(&Text::new(&units), 0), Err(TooMuchWork));
    assert_eq!(regex.find_at(&Text::new(&units), 0), Ok(None));
}

#[test]
fn patterns_too_large_are_refused_before_they_are_compiled() {
    for pattern in ["(?:a{1000}){1000}{1000}", "(?:(?:a{1000}){1000}){1000}", &"(a)".repeat(4000)] {
        assert!(Regex::new(pattern, Flags::default()).is_err(), "{pattern:.40}");
    }
    assert!(Regex::new("^[a-z0-9][a-z0-9-]{0,251}$", Flags::default()).is_ok());
    assert!(Regex::new("^.{1,1000}$", Flags::default()).is_ok());
}
