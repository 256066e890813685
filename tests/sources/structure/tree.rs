//! The source files that a crate is built from, and which of them each one uses.
//!
//! It finds `use` declarations, paths in code and in the arguments of macros, and calls of `self.method()` and
//! `Self::function()` where another file has the `impl` block. A path that goes through a re-export leads to the file
//! that declares the item, so a re-export in a `mod.rs` is not an import of its module. It does not find a call of a
//! method on any other value. Code under `#[cfg(test)]` is left out, whole files included.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, ImplItem, Item, ItemImpl, Type, UseTree, Visibility};

/// The uses of one file.
#[derive(Debug, Default)]
pub struct Uses {
    /// Files of the same tree.
    pub files: BTreeSet<String>,
    /// Paths that lead out of the tree: `std::fs::File`.
    pub outside: BTreeSet<String>,
    /// Whether the word `unsafe` is in its code.
    pub has_unsafe: bool,
}

/// The texts of the files below a directory.
pub fn read(directory: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    read_texts(directory, "", &mut texts);
    texts
}

/// The uses of each file of a tree, by its name below the root. The tree begins with `lib.rs` and `main.rs`.
pub fn uses(texts: &BTreeMap<String, String>) -> BTreeMap<String, Uses> {
    let mut tree = Tree {
        texts,
        modules: BTreeMap::new(),
        methods: BTreeMap::new(),
    };
    for (root, file) in [(LIBRARY, "lib.rs"), (PROGRAM, "main.rs")] {
        if texts.contains_key(file) {
            tree.load(vec![root.to_owned()], file, "");
        }
    }
    tree.note_methods();
    let mut uses = BTreeMap::<String, Uses>::new();
    for (path, module) in &tree.modules {
        tree.note_uses(path, module, uses.entry(module.file.clone()).or_default());
    }
    uses
}

/// The name under which the program imports the library's modules.
const LIBRARY: &str = "anabranch";
const PROGRAM: &str = "main";

type ModulePath = Vec<String>;

/// A module: of its own file, or inside of one.
struct Module {
    file: String,
    /// Names that are declared here.
    declared: BTreeSet<String>,
    imports: Vec<Import>,
    /// The items that are neither imports nor modules.
    code: Vec<Item>,
}

struct Import {
    /// Its name here; `None` for `*`.
    name: Option<String>,
    target: Vec<String>,
    is_reexport: bool,
}

struct Tree<'a> {
    texts: &'a BTreeMap<String, String>,
    modules: BTreeMap<ModulePath, Module>,
    /// By the type, and the method's name: the files that have one.
    methods: BTreeMap<(ModulePath, String), BTreeSet<String>>,
}

impl Tree<'_> {
    /// `below` is the directory of the module's own modules.
    fn load(&mut self, path: ModulePath, file: &str, below: &str) {
        let Some(text) = self.texts.get(file) else {
            panic!("there is no {file}");
        };
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        self.add(path, file, below, parsed.items);
    }

    fn add(&mut self, path: ModulePath, file: &str, below: &str, items: Vec<Item>) {
        let mut module = Module {
            file: file.to_owned(),
            declared: BTreeSet::new(),
            imports: Vec::new(),
            code: Vec::new(),
        };
        for item in items {
            match item {
                Item::Mod(inner) if !is_of_tests(&inner.attrs) => {
                    let name = inner.ident.to_string();
                    let path: ModulePath = path.iter().cloned().chain([name.clone()]).collect();
                    let inside = format!("{below}{name}/");
                    match inner.content {
                        Some((_, items)) => self.add(path, file, &inside, items),
                        None => {
                            let own = format!("{below}{name}.rs");
                            let file = match self.texts.contains_key(&own) {
                                true => own,
                                false => format!("{inside}mod.rs"),
                            };
                            self.load(path, &file, &inside);
                        }
                    }
                }
                Item::Use(item) if !is_of_tests(&item.attrs) => {
                    let is_reexport = !matches!(item.vis, Visibility::Inherited);
                    module.add_imports(&item.tree, Vec::new(), is_reexport);
                }
                Item::Mod(_) | Item::Use(_) => {}
                mut code => {
                    if !is_of_tests(attributes(&code)) {
                        module.declared.extend(name_of(&code));
                        leave_out_tests(&mut code);
                        module.code.push(code);
                    }
                }
            }
        }
        self.modules.insert(path, module);
    }

    fn note_methods(&mut self) {
        let mut methods = BTreeMap::<_, BTreeSet<String>>::new();
        for (path, module) in &self.modules {
            for block in module.code.iter().filter_map(as_impl) {
                let Some(of) = self.type_of(path, block) else {
                    continue;
                };
                for item in &block.items {
                    if let ImplItem::Fn(method) = item {
                        let key = (of.clone(), method.sig.ident.to_string());
                        methods.entry(key).or_default().insert(module.file.clone());
                    }
                }
            }
        }
        self.methods = methods;
    }

    fn note_uses(&self, path: &[String], module: &Module, uses: &mut Uses) {
        for import in &module.imports {
            let target = self.absolute(path, &import.target);
            // A module shows the items of its own modules.
            let is_own = target.len() > path.len() && target.starts_with(path);
            // Uses of a module with modules of its own are found where they are.
            let is_of_modules = self.has_modules(&target) && import.name.is_some();
            if !(is_of_modules || import.is_reexport && is_own) {
                self.note(&target, module, uses);
            }
        }
        for item in &module.code {
            let of = as_impl(item).and_then(|block| self.type_of(path, block));
            self.note_code(item.to_token_stream(), path, module, of.as_deref(), uses);
        }
    }

    /// Notes the file that a path leads to.
    fn note(&self, target: &[String], module: &Module, uses: &mut Uses) {
        match self.resolve(target, 0) {
            Some(found) => {
                let file = &self.modules[&found].file;
                if *file != module.file {
                    uses.files.insert(file.clone());
                }
            }
            None => {
                uses.outside.insert(target.join("::"));
            }
        }
    }

    fn note_code(
        &self,
        code: TokenStream,
        path: &[String],
        module: &Module,
        of: Option<&[String]>,
        uses: &mut Uses,
    ) {
        let tokens: Vec<TokenTree> = code.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => {
                    self.note_code(group.stream(), path, module, of, uses);
                    at += 1;
                }
                TokenTree::Ident(ident) if ident == "unsafe" => {
                    uses.has_unsafe = true;
                    at += 1;
                }
                TokenTree::Ident(ident) if ident == "use" && !is_capture(&tokens[at..]) => {
                    let end = tokens[at..].iter().position(|token| is_punct(token, ';'));
                    let end = end.map_or(tokens.len(), |length| at + length);
                    let declared = tokens[at + 1..end].iter().cloned().collect();
                    if let Ok(tree) = syn::parse2::<UseTree>(declared) {
                        for (_, target) in flatten(&tree, Vec::new()) {
                            self.note(&self.absolute(path, &target), module, uses);
                        }
                    }
                    at = end;
                }
                TokenTree::Ident(_) => {
                    let (segments, next) = read_path(&tokens, at);
                    let is_field = at > 0 && is_punct(&tokens[at - 1], '.');
                    if let Some(of) = of {
                        let method = called_on_self(&tokens, at, &segments);
                        self.note_method(of, method.as_deref(), module, uses);
                    }
                    if segments.len() > 1 && !is_field {
                        let target = self.absolute(path, &segments);
                        let is_known = target != segments || self.resolve(&target, 0).is_some();
                        let is_name = segments[0].chars().next().is_some_and(char::is_lowercase);
                        if is_known || is_name {
                            self.note(&target, module, uses);
                        }
                    }
                    at = next;
                }
                _ => at += 1,
            }
        }
    }

    fn note_method(&self, of: &[String], method: Option<&str>, module: &Module, uses: &mut Uses) {
        let found = method.and_then(|method| self.methods.get(&(of.to_vec(), method.to_owned())));
        let Some(files) = found else {
            return;
        };
        if !files.contains(&module.file) {
            uses.files.extend(files.iter().cloned());
        }
    }

    /// The type that an `impl` block is of, by the module that declares it.
    fn type_of(&self, path: &[String], block: &ItemImpl) -> Option<ModulePath> {
        let Type::Path(of) = block.self_ty.as_ref() else {
            return None;
        };
        let segments: Vec<_> = of
            .path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        let name = segments.last()?.clone();
        let mut found = self.resolve(&self.absolute(path, &segments), 0)?;
        found.push(name);
        Some(found)
    }

    /// Makes a path in a module absolute, from the root of a crate.
    fn absolute(&self, path: &[String], segments: &[String]) -> Vec<String> {
        let mut base = path.to_vec();
        let mut rest = segments;
        match rest.first().map(String::as_str) {
            Some("crate") => {
                base.truncate(1);
                rest = &rest[1..];
            }
            Some("self" | "super") => {
                while let Some("self" | "super") = rest.first().map(String::as_str) {
                    if rest[0] == "super" {
                        base.pop();
                    }
                    rest = &rest[1..];
                }
            }
            Some(first) => {
                let module = &self.modules[path];
                let child: ModulePath = path.iter().cloned().chain([first.to_owned()]).collect();
                let import = module
                    .imports
                    .iter()
                    .find(|import| import.name.as_deref() == Some(first) && import.target != [first]);
                if !module.declared.contains(first) && !self.modules.contains_key(&child) {
                    match import {
                        Some(import) if import.target != segments => {
                            base = self.absolute(path, &import.target);
                            rest = &rest[1..];
                        }
                        _ => base.clear(),
                    }
                }
            }
            None => {}
        }
        base.extend(rest.iter().cloned());
        base
    }

    /// The module that declares the item of a path; `None` outside of the tree.
    fn resolve(&self, target: &[String], depth: usize) -> Option<ModulePath> {
        const DEEPEST: usize = 16;
        let known = (1..=target.len())
            .rev()
            .find(|length| self.modules.contains_key(&target[..*length]))?;
        let (path, rest) = target.split_at(known);
        let module = &self.modules[path];
        let found = || Some(path.to_vec());
        let Some(name) = rest.first() else {
            return found();
        };
        if module.declared.contains(name) || depth > DEEPEST {
            return found();
        }
        for import in &module.imports {
            let mut onward = self.absolute(path, &import.target);
            match &import.name {
                Some(known) if known == name => onward.extend(rest[1..].iter().cloned()),
                None if self.declares(&onward, name) => onward.extend(rest.iter().cloned()),
                _ => continue,
            }
            return self.resolve(&onward, depth + 1);
        }
        found()
    }

    fn declares(&self, path: &[String], name: &str) -> bool {
        let module = self.modules.get(path);
        module.is_some_and(|module| module.declared.contains(name))
    }

    fn has_modules(&self, path: &[String]) -> bool {
        let mut below = self.modules.keys();
        self.modules.contains_key(path)
            && below.any(|other| other.len() > path.len() && other.starts_with(path))
    }
}

impl Module {
    fn add_imports(&mut self, tree: &UseTree, prefix: Vec<String>, is_reexport: bool) {
        for (name, target) in flatten(tree, prefix) {
            self.imports.push(Import {
                name,
                target,
                is_reexport,
            });
        }
    }
}

fn read_texts(directory: &Path, below: &str, texts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            read_texts(&path, &format!("{below}{name}/"), texts);
        } else if name.ends_with(".rs") {
            texts.insert(format!("{below}{name}"), fs::read_to_string(&path).unwrap());
        }
    }
}

/// The items of a `use` declaration: the name here (`None` for all of a module), and the path.
fn flatten(tree: &UseTree, mut prefix: Vec<String>) -> Vec<(Option<String>, Vec<String>)> {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix)
        }
        UseTree::Name(name) => {
            if name.ident != "self" {
                prefix.push(name.ident.to_string());
            }
            vec![(prefix.last().cloned(), prefix)]
        }
        UseTree::Rename(name) => {
            if name.ident != "self" {
                prefix.push(name.ident.to_string());
            }
            vec![(Some(name.rename.to_string()), prefix)]
        }
        UseTree::Glob(_) => vec![(None, prefix)],
        UseTree::Group(group) => {
            let trees = group.items.iter();
            trees.flat_map(|tree| flatten(tree, prefix.clone())).collect()
        }
    }
}

/// A path that begins at a token, and where it ends.
fn read_path(tokens: &[TokenTree], at: usize) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    let mut at = at;
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        segments.push(ident.to_string());
        at += 1;
        let is_continued =
            tokens.len() > at + 1 && tokens[at..at + 2].iter().all(|token| is_punct(token, ':'));
        match is_continued {
            true => at += 2,
            false => break,
        }
    }
    (segments, at)
}

/// The method in `self.method(...)`, or the function in `Self::function`.
fn called_on_self(tokens: &[TokenTree], at: usize, segments: &[String]) -> Option<String> {
    if let [first, name] = segments
        && first == "Self"
    {
        return Some(name.clone());
    }
    let rest = &tokens[at..];
    match (segments, rest) {
        ([first], [_, dot, TokenTree::Ident(name), TokenTree::Group(arguments), ..])
            if first == "self" && is_punct(dot, '.') && arguments.delimiter() == Delimiter::Parenthesis =>
        {
            Some(name.to_string())
        }
        _ => None,
    }
}

/// Whether `use` begins a list of what a type captures: `use<'a>`.
fn is_capture(rest: &[TokenTree]) -> bool {
    rest.get(1).is_some_and(|token| is_punct(token, '<'))
}

fn is_punct(token: &TokenTree, punct: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == punct)
}

fn as_impl(item: &Item) -> Option<&ItemImpl> {
    match item {
        Item::Impl(block) => Some(block),
        _ => None,
    }
}

/// Whether it exists only for the crate's own tests.
fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|only| only == "test")
    })
}

fn leave_out_tests(item: &mut Item) {
    if let Item::Impl(block) = item {
        block.items.retain(|item| match item {
            ImplItem::Fn(method) => !is_of_tests(&method.attrs),
            _ => true,
        });
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
