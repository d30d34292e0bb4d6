//! Written documents are read back unchanged.

use serde_json::json;

use super::super::write;
use super::read_one;

#[test]
fn written_yaml_is_read_back_unchanged() {
    for text in TEXTS.iter().copied() {
        for value in [
            json!({ "a": text }),
            json!([text, [text, [text]], [{ "a": text, "b": [text] }]]),
            json!({ text: text, "b": { text: [text, { text: text }] } }),
        ] {
            let yaml = write(&value);
            assert_eq!(read_one(&yaml), value, "{yaml}");
            assert!(yaml.ends_with('\n') && !yaml.starts_with("---"), "{yaml}");
            // A parser that splits documents by lines must find no separator.
            assert!(!yaml.contains("\n---"), "{yaml}");
        }
    }
    for value in [
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(0.1),
        json!(1e20),
        json!(1e-7),
        json!(-1.5e300),
        json!(5e-324),
        json!(1.0),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
    ] {
        let value = json!({ "a": value, "b": [value] });
        let yaml = write(&value);
        assert_eq!(read_one(&yaml), value, "{yaml}");
    }
    let long = "k".repeat(5000);
    let value = json!({ &long: [{ &long: { "a": &long } }], "中".repeat(900): 1 });
    assert_eq!(read_one(&write(&value)), value);
}

/// Texts that some parser resolves to something other than a string.
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "a b",
    " a",
    "a ",
    "0644",
    "1e3",
    "y",
    "No",
    "on",
    "~",
    "null",
    "NaN",
    ".inf",
    "<<",
    "=",
    "a: b",
    "a:",
    "a #b",
    "#a",
    "- a",
    "-",
    "--- a",
    "...",
    "?",
    "? a",
    ":a",
    "[a]",
    "{a}",
    "a,b",
    "*a",
    "&a",
    "!a",
    "|",
    ">",
    "%a",
    "@a",
    "`a`",
    "'a'",
    "\"a\"",
    "a\\b",
    "a\tb",
    "\ta",
    "a\nb",
    "a\nb\n",
    "a\n\nb\n\n\n",
    "\na",
    "\n",
    "a\n ",
    "a\n \n",
    "  a\nb",
    "\ta\nb",
    "a\n\tb\n",
    "a\n  b\n   \nc\n",
    "a\r\nb",
    "a\rb",
    "a\n---\nb",
    "a\n# b\n",
    "\0",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{feff}",
    "\u{fffe}",
    "\u{1F600}",
    "中文",
    "12:30:45",
    "0x",
    "1_0",
    "+1",
    "/a/b",
    "_a",
    "http://a:80/b?c=d",
    "$(A)",
    "acs:ram::1:role/a",
    "a\\nb",
    "2001-01-01",
    "0o7",
];
