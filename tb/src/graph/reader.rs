//! Graph files: SNAP edge lists and Matrix Market coordinate files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Most vertices and edges of a graph: more do not fit the simulated memory.
const MOST: usize = 1 << 24;
/// Largest vertex number of an edge list.
const LARGEST: u64 = u32::MAX as u64;

/// A directed graph. Vertices have an index and the number that the file calls them by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// The file's number of each vertex, by index; ascending.
    pub ids: Vec<u64>,
    /// Edges between indices, in the file's order.
    pub edges: Vec<(u32, u32)>,
}

impl Graph {
    /// Number of vertices.
    #[must_use]
    pub fn vertices(&self) -> usize {
        self.ids.len()
    }

    /// Index of the vertex that the file calls `id`.
    #[must_use]
    pub fn index(&self, id: u64) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }
}

/// Why a graph cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GraphError {
    /// The file cannot be read.
    #[error("cannot read graph {}: {reason}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: expected {expected}, got {got:?}", .file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What should be there.
        expected: String,
        /// What is there.
        got: String,
    },
    /// The file as a whole is not what it should be.
    #[error("{}: {reason}", .file.display())]
    Whole {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Reads a graph file.
///
/// # Errors
/// It is missing or malformed.
pub fn read_file(file: &Path) -> Result<Graph, GraphError> {
    let unreadable = |reason: String| GraphError::Unreadable {
        file: file.to_path_buf(),
        reason,
    };
    let bytes = std::fs::read(file).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not a text file".into()))?;
    read_text(file, &text)
}

/// Reads a graph from text; `file` names it in messages. A Matrix Market file starts with `%%MatrixMarket`,
/// anything else is an edge list.
///
/// # Errors
/// It is malformed.
pub fn read_text(file: &Path, text: &str) -> Result<Graph, GraphError> {
    let reader = Reader { file };
    let first = text.lines().next().unwrap_or_default();
    if first
        .get(..14)
        .is_some_and(|head| head.eq_ignore_ascii_case("%%matrixmarket"))
    {
        reader.matrix(text)
    } else {
        reader.edge_list(text)
    }
}

struct Reader<'a> {
    file: &'a Path,
}

impl Reader<'_> {
    fn line(&self, line: usize, expected: impl Into<String>, got: &str) -> GraphError {
        let mut got = got.to_string();
        if got.chars().count() > 60 {
            got = got.chars().take(60).collect::<String>() + "...";
        }
        GraphError::Line {
            file: self.file.to_path_buf(),
            line,
            expected: expected.into(),
            got,
        }
    }

    fn whole(&self, reason: impl Into<String>) -> GraphError {
        GraphError::Whole {
            file: self.file.to_path_buf(),
            reason: reason.into(),
        }
    }

    fn edge_list(&self, text: &str) -> Result<Graph, GraphError> {
        const EXPECTED: &str = "two vertex numbers (from, to) or a comment that starts with #";
        let mut pairs: Vec<(u64, u64)> = Vec::new();
        for (number, raw) in (1..).zip(text.lines()) {
            let line = raw.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(from), Some(to), None) = (words.next(), words.next(), words.next()) else {
                return Err(self.line(number, EXPECTED, line));
            };
            let vertex = |word: &str| -> Result<u64, GraphError> {
                let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
                if !digits {
                    return Err(self.line(number, EXPECTED, line));
                }
                word.parse()
                    .ok()
                    .filter(|id| *id <= LARGEST)
                    .ok_or_else(|| {
                        self.line(number, format!("vertex numbers in 0..={LARGEST}"), line)
                    })
            };
            pairs.push((vertex(from)?, vertex(to)?));
            if pairs.len() > MOST {
                return Err(self.whole(format!("more than {MOST} edges")));
            }
        }
        if pairs.is_empty() {
            return Err(self.whole("no edge in it"));
        }
        let mut ids: Vec<u64> = pairs.iter().flat_map(|(from, to)| [*from, *to]).collect();
        ids.sort_unstable();
        ids.dedup();
        let index: BTreeMap<u64, u32> = ids.iter().copied().zip(0..).collect();
        let edges = pairs
            .iter()
            .map(|(from, to)| (index[from], index[to]))
            .collect();
        Ok(Graph { ids, edges })
    }

    fn matrix(&self, text: &str) -> Result<Graph, GraphError> {
        let mut lines = (1..).zip(text.lines());
        let (_, banner) = lines.next().unwrap_or((1, ""));
        let words: Vec<String> = banner
            .split_whitespace()
            .map(str::to_ascii_lowercase)
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (values, symmetric) = match words[..] {
            [_, "matrix", "coordinate", field, symmetry] => {
                let values = match field {
                    "pattern" => 0,
                    "real" | "integer" | "double" => 1,
                    "complex" => 2,
                    _ => {
                        return Err(self.line(
                            1,
                            "field pattern, real, integer or complex",
                            banner,
                        ));
                    }
                };
                let symmetric = match symmetry {
                    "general" => false,
                    "symmetric" | "skew-symmetric" | "hermitian" => true,
                    _ => {
                        return Err(self.line(
                            1,
                            "symmetry general, symmetric, skew-symmetric or hermitian",
                            banner,
                        ));
                    }
                };
                (values, symmetric)
            }
            _ => {
                return Err(self.line(
                    1,
                    "%%MatrixMarket matrix coordinate FIELD SYMMETRY",
                    banner,
                ));
            }
        };
        let mut lines = lines
            .map(|(n, l)| (n, l.trim()))
            .filter(|(_, l)| !l.is_empty() && !l.starts_with('%'));
        let Some((number, line)) = lines.next() else {
            return Err(self.whole("it ends before the size line (rows columns entries)"));
        };
        let size: Vec<u64> = line
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let (vertices, entries) = match size[..] {
            [rows, columns, entries] if line.split_whitespace().count() == 3 => {
                if rows != columns {
                    return Err(self.line(
                        number,
                        "as many rows as columns (an adjacency matrix)",
                        line,
                    ));
                }
                (rows, entries)
            }
            _ => return Err(self.line(number, "three sizes (rows columns entries)", line)),
        };
        if vertices == 0 || vertices as usize > MOST || entries as usize > MOST {
            return Err(self.line(
                number,
                format!("1..={MOST} vertices and up to as many entries"),
                line,
            ));
        }
        let mut edges = Vec::new();
        let mut found = 0;
        for (number, line) in lines {
            let mut words = line.split_whitespace();
            let ends: Vec<u64> = words
                .by_ref()
                .take(2)
                .map_while(|word| word.parse().ok())
                .collect();
            let numbers = words.clone().all(|word| word.parse::<f64>().is_ok());
            let [from, to] = ends[..] else {
                return Err(self.line(number, "an entry (row column value)", line));
            };
            if !numbers || words.count() != values {
                return Err(self.line(number, format!("row, column and {values} numbers"), line));
            }
            if !(1..=vertices).contains(&from) || !(1..=vertices).contains(&to) {
                return Err(self.line(number, format!("vertices in 1..={vertices}"), line));
            }
            found += 1;
            if found > entries {
                return Err(self.line(number, format!("the end after {entries} entries"), line));
            }
            let (from, to) = (from as u32 - 1, to as u32 - 1);
            edges.push((from, to));
            if symmetric && from != to {
                edges.push((to, from));
            }
        }
        if found < entries {
            return Err(self.whole(format!(
                "the size line promises {entries} entries, {found} are there"
            )));
        }
        Ok(Graph {
            ids: (1..=vertices).collect(),
            edges,
        })
    }
}
