//! The text of a file, as the parser of YAML gets it.

use granit_parser::input::{SkipTabs, WhitespaceResult};
use granit_parser::{BorrowedInput, Input, StrInput};

/// A text in which a comment may follow a bracket or a quote without a blank, as it may for Kubernetes.
pub(super) struct Text<'a>(StrInput<'a>);

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(StrInput::new(text))
    }
}

impl Input for Text<'_> {
    /// Says that a blank comes before a comment. The parser asks only between values: a `#` inside one never ends it.
    fn skip_ws_to_eol_blanks(&mut self, tabs: SkipTabs) -> (usize, WhitespaceResult) {
        let (count, found) = self.0.skip_ws_to_eol_blanks(tabs);
        let is_separate = found.has_valid_yaml_ws() || self.0.peek() == '#';
        (
            count,
            WhitespaceResult::new(found.found_tabs(), is_separate),
        )
    }

    fn lookahead(&mut self, count: usize) {
        self.0.lookahead(count);
    }

    fn buflen(&self) -> usize {
        self.0.buflen()
    }

    fn bufmaxlen(&self) -> usize {
        self.0.bufmaxlen()
    }

    fn raw_read_ch(&mut self) -> char {
        self.0.raw_read_ch()
    }

    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        self.0.raw_read_non_breakz_ch()
    }

    fn skip(&mut self) {
        self.0.skip();
    }

    fn skip_n(&mut self, count: usize) {
        self.0.skip_n(count);
    }

    fn peek(&self) -> char {
        self.0.peek()
    }

    fn peek_nth(&self, n: usize) -> char {
        self.0.peek_nth(n)
    }

    fn byte_offset(&self) -> Option<usize> {
        self.0.byte_offset()
    }

    fn slice_bytes(&self, start: usize, end: usize) -> Option<&str> {
        self.0.slice_bytes(start, end)
    }
}

impl<'a> BorrowedInput<'a> for Text<'a> {
    fn slice_borrowed(&self, start: usize, end: usize) -> Option<&'a str> {
        self.0.slice_borrowed(start, end)
    }
}
