//! The rules, each a function that lists the breaches, and the exceptions to them.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::Uses;

/// A breach of a rule that is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// The file, or the directory (with a slash at its end), that breaks it.
    pub of: &'static str,
    /// The used file or directory, given in the same way. Empty if the rule is not about uses.
    pub uses: &'static str,
    /// Why it is allowed.
    pub reason: &'static str,
}

/// The files that each file uses.
type Imports<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// One file that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breach {
    pub file: String,
    pub uses: String,
}

/// The breaches that no exception covers, and the exceptions that cover none, as text.
pub fn complaints(breaches: &[Breach], exceptions: &[Exception]) -> Vec<String> {
    let mut complaints = Vec::new();
    for breach in breaches {
        if !exceptions.iter().any(|exception| exception.covers(breach)) {
            complaints.push(format!("{} uses {}", breach.file, breach.uses));
        }
    }
    for exception in exceptions {
        if !breaches.iter().any(|breach| exception.covers(breach)) {
            let Exception { of, uses, reason } = exception;
            complaints.push(format!(
                "the exception for {of} {uses} is not needed any more ({reason})"
            ));
        }
    }
    complaints
}

/// Imports between files that form a circle. An item declared in a `mod.rs` belongs to all files of its folder, so
/// their uses of it do not count.
pub fn circles(tree: &BTreeMap<String, Uses>) -> Vec<Breach> {
    let imports: Imports = tree
        .iter()
        .map(|(file, uses)| {
            let used = uses.files.iter().filter(|used| !is_folder_of(used, file));
            (file.as_str(), used.map(String::as_str).collect())
        })
        .collect();
    let mut breaches = Vec::new();
    for (&file, uses) in &imports {
        for &used in uses {
            if reachable_from(used, &imports).contains(file) {
                breaches.push(Breach {
                    file: file.to_owned(),
                    uses: used.to_owned(),
                });
            }
        }
    }
    breaches
}

/// Imports of a floor that is not below. A floor is a folder or a file below the root; floors in one row must not
/// import each other. The crate's own roots may use everything.
pub fn upward_imports(tree: &BTreeMap<String, Uses>, floors: &[&[&str]]) -> Vec<Breach> {
    let row_of = |floor: &str| {
        let row = floors.iter().position(|row| row.contains(&floor));
        row.unwrap_or_else(|| panic!("{floor} has no place among the floors"))
    };
    let mut breaches = Vec::new();
    for (file, uses) in tree.iter().filter(|(file, _)| !is_root(file)) {
        let own = floor_of(file);
        for used in &uses.files {
            let other = floor_of(used);
            let is_upward = is_root(used) || (own != other && row_of(other) <= row_of(own));
            if is_upward {
                breaches.push(Breach {
                    file: file.clone(),
                    uses: used.clone(),
                });
            }
        }
        // Also for files that use nothing.
        row_of(own);
    }
    breaches
}

/// Uses of paths that only one floor may use, given by their beginnings.
pub fn uses_outside(tree: &BTreeMap<String, Uses>, allowed: &str, paths: &[&str]) -> Vec<Breach> {
    let elsewhere = tree.iter().filter(|(file, _)| floor_of(file) != allowed);
    let uses = elsewhere.flat_map(|(file, uses)| {
        let all = uses.outside.iter().map(move |used| (file, used));
        all.filter(move |(_, used)| paths.iter().any(|path| is_below(used, path)))
    });
    uses.map(|(file, used)| Breach {
        file: file.clone(),
        uses: used.clone(),
    })
    .collect()
}

/// Uses that one floor makes of certain files, given by the beginnings of their names.
pub fn uses_of_files(tree: &BTreeMap<String, Uses>, floor: &str, files: &[&str]) -> Vec<Breach> {
    let own = tree.iter().filter(|(file, _)| floor_of(file) == floor);
    let uses = own.flat_map(|(file, uses)| uses.files.iter().map(move |used| (file, used)));
    uses.filter(|(_, used)| files.iter().any(|begin| used.starts_with(begin)))
        .map(|(file, used)| Breach {
            file: file.clone(),
            uses: used.clone(),
        })
        .collect()
}

/// Words in the files directly below one floor, in any form and also as parts of names. The hidden lines of examples do
/// not count.
pub fn words_in(texts: &BTreeMap<String, String>, floor: &str, words: &[&str]) -> Vec<Breach> {
    let own = texts.iter().filter(|(file, _)| {
        let name = file.strip_prefix(floor).and_then(|rest| rest.strip_prefix('/'));
        name.is_some_and(|name| !name.contains('/'))
    });
    let mut breaches = BTreeSet::new();
    for (file, text) in own {
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("/// # "));
        for found in lines.flat_map(words_of) {
            let singular = found.strip_suffix('s').unwrap_or(&found);
            if words.contains(&singular) {
                breaches.insert(Breach {
                    file: file.clone(),
                    uses: singular.to_owned(),
                });
            }
        }
    }
    breaches.into_iter().collect()
}

/// In small letters; names are split into words.
fn words_of(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for letter in line.chars() {
        let begins = !letter.is_ascii_alphabetic() || (letter.is_ascii_uppercase() && was_small);
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut()
            && letter.is_ascii_alphabetic()
        {
            word.push(letter.to_ascii_lowercase());
        }
        was_small = letter.is_ascii_lowercase();
    }
    words
}

/// Files with `unsafe` outside of one floor.
pub fn unsafe_outside(tree: &BTreeMap<String, Uses>, allowed: &str) -> Vec<Breach> {
    let files = tree
        .iter()
        .filter(|(file, uses)| uses.has_unsafe && floor_of(file) != allowed);
    files
        .map(|(file, _)| Breach {
            file: file.clone(),
            uses: "unsafe".to_owned(),
        })
        .collect()
}

impl Exception {
    fn covers(&self, breach: &Breach) -> bool {
        let fits = |pattern: &str, name: &str| {
            pattern == name || pattern.is_empty() || (pattern.ends_with('/') && name.starts_with(pattern))
        };
        fits(self.of, &breach.file) && fits(self.uses, &breach.uses)
    }
}

fn reachable_from<'a>(file: &str, imports: &Imports<'a>) -> BTreeSet<&'a str> {
    let used_by = |file: &str| imports.get(file).into_iter().flatten().copied();
    let mut reached = BTreeSet::new();
    let mut open: Vec<_> = used_by(file).collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(used_by(next));
        }
    }
    reached
}

/// Whether a file is the `mod.rs` of the folder that another one is in, at whatever depth.
fn is_folder_of(file: &str, inner: &str) -> bool {
    let folder = file.strip_suffix("mod.rs");
    folder.is_some_and(|folder| inner.starts_with(folder) && inner != file)
}

fn is_root(file: &str) -> bool {
    file == "lib.rs" || file == "main.rs"
}

fn floor_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn is_below(used: &str, path: &str) -> bool {
    used.strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
