//! Prints results: a JSON tree, in the form that the caller asked for.
//!
//! **Never:** prints anything but data on standard output, or a control character of somebody's data on a
//! terminal in the forms for people.

use std::io::{self, IsTerminal, Write};

use serde_json::Value as Json;

use crate::args::Form;
use crate::error::Error;

/// Where results go, and in which form.
pub(crate) struct Output {
    form: Form,
    raw_end: RawEnd,
}

/// What follows a value that is printed alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RawEnd {
    /// The end of the line on a terminal, else nothing, so that a file gets exactly the value.
    OnTerminals,
    /// The end of the line.
    Always,
}

impl Output {
    /// Standard output, in this form.
    pub(crate) fn new(form: Option<Form>) -> Self {
        Self { form: form.unwrap_or_default(), raw_end: RawEnd::OnTerminals }
    }

    /// Standard output of the shell, where other results follow.
    pub(crate) fn of_shell(form: Option<Form>) -> Self {
        Self { raw_end: RawEnd::Always, ..Self::new(form) }
    }

    /// The form.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Prints a result.
    pub(crate) fn print(&self, tree: &Json) -> Result<(), Error> {
        write_out(render(tree, self.form).as_bytes())
    }

    /// Prints a table with lines above it.
    pub(crate) fn print_rows(&self, head: &[String], items: &Json) -> Result<(), Error> {
        write_out(rows(head, items).as_bytes())
    }

    /// Prints a value alone: exactly its bytes, and for people the end of the line.
    pub(crate) fn print_raw(&self, bytes: &[u8]) -> Result<(), Error> {
        write_out(bytes)?;
        let ends = self.raw_end == RawEnd::Always || io::stdout().is_terminal();
        let at_line_start = bytes.is_empty() || bytes.ends_with(b"\n");
        if ends && !at_line_start { write_out(b"\n") } else { Ok(()) }
    }
}

/// Writes bytes to standard output.
pub(crate) fn write_out(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|source| Error::Terminal { what: "cannot write the result", source })
}

/// Text alone where the tree is a text, else JSON on one line.
pub(crate) fn raw(tree: &Json) -> String {
    match tree {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The tree in a form, with the end of the line.
pub(crate) fn render(tree: &Json, form: Form) -> String {
    match form {
        Form::Json => format!("{tree:#}\n"),
        Form::Raw => format!("{}\n", raw(tree)),
        Form::Table => table(tree),
        // A tree of plain values can always be written; JSON is YAML too.
        Form::Yaml => serde_yaml::to_string(tree).unwrap_or_else(|_| format!("{tree}\n")),
    }
}

/// Lines, and below them a table with a row for each item.
pub(crate) fn rows(head: &[String], items: &Json) -> String {
    let lines: String = head.iter().map(|line| escape(line) + "\n").collect();
    let has_rows = items.as_array().is_some_and(|items| !items.is_empty());
    if has_rows { lines + &table(items) } else { lines }
}

/// A list of maps has a row for each; a map has a row for each field.
fn table(tree: &Json) -> String {
    let rows = match tree {
        Json::Array(items) => list_rows(items),
        Json::Object(_) => {
            let mut rows = vec![vec!["FIELD".to_owned(), "VALUE".to_owned()]];
            add_fields("", tree, &mut rows);
            rows
        }
        other => vec![vec![cell(other)]],
    };
    align(&rows)
}

/// A row for each field; a field inside another has both names.
fn add_fields(path: &str, tree: &Json, rows: &mut Vec<Vec<String>>) {
    match tree {
        Json::Object(fields) if !fields.is_empty() => {
            let dot = if path.is_empty() { "" } else { "." };
            for (name, value) in fields {
                add_fields(&format!("{path}{dot}{name}"), value, rows);
            }
        }
        value => rows.push(vec![escape(path), cell(value)]),
    }
}

fn list_rows(items: &[Json]) -> Vec<Vec<String>> {
    let mut columns: Vec<&String> = Vec::new();
    for name in items.iter().filter_map(Json::as_object).flat_map(|fields| fields.keys()) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    let header: Vec<_> = columns.iter().map(|name| escape(&name.to_uppercase())).collect();
    let row = |item: &Json| {
        match item.as_object() {
            Some(fields) => {
                columns.iter().map(|&name| fields.get(name).map_or(String::new(), cell))
            }
            None => return vec![cell(item)],
        }
        .collect()
    };
    std::iter::once(header).chain(items.iter().map(row)).collect()
}

fn cell(value: &Json) -> String {
    escape(&raw(value))
}

/// One line, without anything that a terminal would obey.
fn escape(text: &str) -> String {
    let plain = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(plain).collect()
}

/// Columns padded to their widest cell, two blanks apart; the last one is not padded.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let width = |column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_tree_has_four_forms() {
        let tree = json!({"key": "k", "value": {"n": 1, "yes": "true"}});
        assert_eq!(render(&tree, Form::Yaml), "key: k\nvalue:\n  n: 1\n  yes: 'true'\n");
        let expected =
            "{\n  \"key\": \"k\",\n  \"value\": {\n    \"n\": 1,\n    \"yes\": \"true\"\n  }\n}\n";
        assert_eq!(render(&tree, Form::Json), expected);
        let expected = "FIELD      VALUE\nkey        k\nvalue.n    1\nvalue.yes  true\n";
        assert_eq!(render(&tree, Form::Table), expected);
        assert_eq!(render(&json!("text"), Form::Raw), "text\n");
        assert_eq!(render(&tree["value"], Form::Raw), "{\"n\":1,\"yes\":\"true\"}\n");
    }

    #[test]
    fn a_list_has_a_row_for_each() {
        let tree = json!([{"name": "a", "current": true}, {"name": "long", "admin": "x:1"}]);
        let expected = "NAME  CURRENT  ADMIN\na     true\nlong           x:1\n";
        assert_eq!(render(&tree, Form::Table), expected);
    }

    #[test]
    fn a_terminal_obeys_no_data() {
        let tree = json!({"v": "a\u{1b}[31m\nb"});
        for form in [Form::Table, Form::Yaml, Form::Json] {
            assert!(!render(&tree, form).contains('\u{1b}'), "{form:?}");
        }
        assert_eq!(render(&tree, Form::Table).lines().count(), 2);
    }
}
