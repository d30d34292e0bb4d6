//! Documents are read, and errors are reported with their positions.

mod hostile;
mod written;

use serde_json::{Value, json};

use super::*;

fn read_one(text: &str) -> Value {
    let mut documents = read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).value
}

/// Whether both are the same in JSON, which does not distinguish 1 from 1.0.
fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || left.as_f64() == right.as_f64()
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| is_same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, left)| right.get(name).is_some_and(|right| is_same(left, right)))
        }
        _ => left == right,
    }
}

#[test]
fn yaml_is_read_as_kubernetes_reads_it() {
    let table = include_str!("../../../tests/data/kubernetes-yaml.txt");
    let mut count = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let (yaml, expected) = line.split_once(" => ").unwrap();
        let yaml: String = serde_json::from_str(yaml).unwrap();
        let result = read(yaml.as_bytes());
        if expected == "refused" {
            assert!(result.is_err(), "{yaml:?}: {result:?}");
        } else {
            let expected: Value = serde_json::from_str(expected).unwrap();
            let documents = result.unwrap_or_else(|error| panic!("{yaml:?}: {error}"));
            let [document] = &documents[..] else {
                panic!("{yaml:?}: {documents:?}");
            };
            assert!(
                is_same(&document.value, &expected),
                "{yaml:?}: {document:?}"
            );
        }
        count += 1;
    }
    assert!(count > 590, "only {count} cases");
}

#[test]
fn ambiguous_yaml_is_rejected() {
    for (yaml, expected) in [
        (
            "a: 1\nb: 2\na: 3",
            "line 3, column 1: the key `a` occurs twice; remove one of them",
        ),
        (
            "on: 1\n'true': 2",
            "line 2, column 1: the key `true` occurs twice",
        ),
        (
            "1.5: a",
            "line 1, column 1: the key 1.5 is a number; put it in quotes",
        ),
        (
            "b: &b {a: 1}\nc:\n  a: 3\n  <<: *b",
            "`<<` comes after the key `a` of the same object",
        ),
        ("<<: {a: 1}\n<<: {b: 1}", "`<<` occurs twice"),
        ("<<: 1", "`<<` requires an object or a list of objects"),
        ("? [a]\n: b", "a key is not a string"),
        ("~: b", "a key is not a string"),
        (
            "on: a\ny: b",
            "line 2, column 1: the key `y` means `true`, which another key of this object means; put both in quotes",
        ),
        (
            "8: a\n010: b",
            "the key `010` means `8`, which another key of this object means",
        ),
        (
            "a:\n  b: {{ .Values.c }}",
            "line 2, column 6: `{{` belongs to a template; render it first, such as with `helm template`",
        ),
        (
            "{{- if .x }}\na: 1\n{{- end }}",
            "line 1, column 1: `{{` belongs to a template",
        ),
        ("a: [{{ .x }}]", "`{{` belongs to a template"),
        (
            "a: {{- toYaml .x | nindent 4 }}",
            "`{{` belongs to a template",
        ),
        (
            "a: 1\n{{ include \"x\" . }}\nb: 2",
            "`{{` belongs to a template",
        ),
        ("{{ .x }}: 1", "`{{` belongs to a template"),
        (
            "a: [x:, y]",
            "line 1, column 5: parsers disagree on a text with a `:` but no blank after it; add one, or put the text in quotes",
        ),
        ("a: {x:}", "line 1, column 5: parsers disagree on a text"),
        ("a: .inf", "`.inf` is a number that JSON cannot represent"),
        (
            "a: !!int x",
            "the value is not of type int; write it without the tag",
        ),
        ("a: !!binary //8=", "the value is not UTF-8 text in base64"),
        (
            "{\"a\": 1, \"a\": 2}",
            "line 1, column 10: the key `a` occurs twice",
        ),
    ] {
        let error = read(yaml.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{yaml:?}: {error}");
    }
}

#[test]
fn broken_yaml_is_reported_with_its_position() {
    for (yaml, expected) in [
        (&b"a: \"b"[..], "line 1, column 4: "),
        (b"a: b\nc: [1, 2", "line 2, column 4: unclosed bracket"),
        (
            b"a: b\n\tc: d",
            "line 2, column 1: a tab indents the line; replace it with blanks",
        ),
        (b"a:\n  b: 1\n \tc: 2", "line 3, column 2: a tab indents"),
        (b"a: |\n\tb", "line 2, column 1: a tab indents"),
        (b"a:\n\tb: 1", "line 2, column 2: a tab indents"),
        (b"-\t- a", "line 1, column 3: a tab indents"),
        (
            b"a:\n  b: 1\n c: 2",
            "line 3, column 2: the line belongs to nothing above it; indent it like",
        ),
        (b"  a: 1\nb: 2", "line 2, column 1: the line belongs to"),
        (b"- a\nb: 1", "line 2, column 1: the line belongs to"),
        (
            b"a: 1\n  b: 2",
            "line 2, column 4: a `:` comes after a value; indent the line like",
        ),
        (
            b"a: b\nc: \0",
            "line 2, column 4: the character U+0000 is not allowed in YAML",
        ),
        (
            b"a: \xe4\xb8\xad\x1b",
            "line 1, column 5: the character U+001B",
        ),
        (
            b"a: b\nc: \xff",
            "line 2, column 4: the text is not UTF-8 from here on",
        ),
        (b"\xff\xfea\0", "line 1, column 1: the text is not UTF-8"),
        (
            b"a: [*b, c]",
            "line 1, column 5: a text that begins with `*` means an alias, which has no anchor above it in the same document; put a text in quotes",
        ),
        (
            b"a: * * * * *",
            "line 1, column 4: a text that begins with `*` or `&` means an alias or an anchor; put it in quotes",
        ),
        (
            b"a: &a [*a]",
            "line 1, column 8: the alias is inside the value that it refers to",
        ),
        (
            b"a: &a 1\n---\na: *a",
            "line 3, column 4: a text that begins with `*` means an alias",
        ),
        (b"a: b: c", "line 1, column "),
        (b"{\"a\": 1", "line 1, column 1: "),
        (b"a: \xe2\x80\xa8", "line 1, column 4: the character U+2028"),
        (
            b"a: 1\n---\n\xef\xbb\xbfb: 2",
            "line 3, column 1: a byte order mark, which another file begins with, is inside the text; remove it",
        ),
    ] {
        let error = read(yaml).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{yaml:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn no_error_repeats_a_value() {
    for before in [
        "*",
        "&",
        "&a &",
        "!",
        "!!",
        "!<",
        "!p!",
        "!!int ",
        "!!bool ",
        "!!binary ",
        "%",
        "@",
        "`",
        "|",
        ">",
        "'",
        "\"",
        "\"\\q",
        "[",
        "{",
        "[[",
        "]",
        "}",
        "? ",
        "- ",
        ": ",
        "b: ",
        "[*",
        "{a: *",
        "<<: *",
        "\u{1b}",
        "\t",
        "#",
        ",",
    ] {
        for after in [
            "",
            ":",
            ": b",
            ", b",
            "]",
            "}",
            ":]",
            ":}",
            ": b]",
            "'",
            "\" b",
            " *",
            "\n *planted",
            "\n",
        ] {
            for place in ["a: ", "a:\n  b: ", "- a: [b, ", "{\"a\": ", "a:\n  <<: "] {
                let yaml = format!("{place}{before}planted{after}");
                if let Err(error) = read(yaml.as_bytes()) {
                    let error = error.to_string();
                    assert!(!error.contains("planted"), "{yaml:?}: {error}");
                }
            }
        }
    }
}

#[test]
fn documents_are_read_in_order_and_empty_ones_are_skipped() {
    let yaml = "\u{feff}# nothing\n---\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n---\n- c\n";
    let documents = read(yaml.as_bytes()).unwrap();
    let values: Vec<&Value> = documents.iter().map(|document| &document.value).collect();
    assert_eq!(values, [&json!({"a": 1}), &json!({"b": 2}), &json!(["c"])]);
    let lines: Vec<usize> = documents.iter().map(|document| document.line).collect();
    assert_eq!(lines, [3, 8, 11]);
    assert_eq!(read(b""), Ok(Vec::new()));
}

#[test]
fn json_is_read_with_the_escapes_that_yaml_lacks() {
    let json =
        "{\"a\": \"\\ud83d\\ude00\\/\",\n\t\"b\": 1}\n\n{\"c\": [null, 1.5, -2, true]}\nnull\n";
    let documents = read(json.as_bytes()).unwrap();
    let [first, second] = &documents[..] else {
        panic!("{documents:?}");
    };
    assert_eq!(first.value, json!({ "a": "\u{1F600}/", "b": 1 }));
    assert_eq!((first.line, second.line), (1, 4));
    assert_eq!(second.value, json!({ "c": [null, 1.5, -2, true] }));
    // A document that begins like JSON may be YAML.
    assert_eq!(read_one("{a: b}"), json!({ "a": "b" }));
}
