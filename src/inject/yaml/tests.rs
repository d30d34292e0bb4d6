use serde_json::{Value, json};

use super::*;

fn one(text: &str) -> Value {
    let mut documents = read(text.as_bytes()).unwrap();
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).value
}

fn mistake(text: &str) -> Mistake {
    read(text.as_bytes()).unwrap_err()
}
