//! The Rust half, parsed: what it declares of C's, and what it offers to C.

use std::collections::BTreeMap;
use std::path::Path;

use syn::{FnArg, ForeignItem, Item, ReturnType, Signature, Type};

use crate::{Field, Function};

/// One side of the boundary.
#[derive(Default)]
pub(crate) struct Half {
    pub(crate) imported: BTreeMap<String, Function>,
    pub(crate) exported: BTreeMap<String, Function>,
    /// By their names in C; arrays of two are two members.
    pub(crate) structures: BTreeMap<String, Vec<Field>>,
    pub(crate) constants: BTreeMap<String, u64>,
    /// The names of Rust's types in C.
    names: BTreeMap<String, String>,
}

impl Half {
    /// Reads all sources of the crate.
    pub(crate) fn read(directory: &Path) -> Self {
        let sources = std::fs::read_dir(directory).expect("sources").flatten().map(|entry| entry.path());
        let sources: Vec<_> = sources.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
        let parsed = sources.iter().map(|path| std::fs::read_to_string(path).expect("text"));
        let files: Vec<_> = parsed.map(|text| syn::parse_file(&text).expect("Rust")).collect();
        let ffi = std::fs::read_to_string(directory.join("ffi.rs")).expect("ffi.rs");

        let own = [("Device", "vsnd_device"), ("Sound", "vsnd_sound"), ("Stream", "vsnd_stream")];
        let names = own.map(|(rust, c)| (rust.into(), format!("struct {c}"))).into_iter().chain(names_in_c(&ffi));
        let mut half = Self { names: names.collect(), ..Self::default() };
        for item in files.into_iter().flat_map(|file| file.items) {
            half.item(&item);
        }
        half
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::ForeignMod(block) => {
                for item in &block.items {
                    if let ForeignItem::Fn(function) = item
                        && !function.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"))
                    {
                        let function = self.function(&function.sig);
                        self.imported.extend([function]);
                    }
                }
            }
            Item::Fn(function) if function.sig.abi.is_some() => {
                let function = self.function(&function.sig);
                self.exported.extend([function]);
            }
            Item::Struct(item) => {
                let name = self.names.get(&item.ident.to_string()).and_then(|name| name.strip_prefix("struct "));
                let Some(name) = name.filter(|_| repr_c(&item.attrs)) else { return };
                let fields = item.fields.iter().flat_map(|field| {
                    let name = field.ident.as_ref().expect("a name").to_string();
                    self.members(&name, &field.ty)
                });
                let fields = fields.collect();
                self.structures.insert(name.to_owned(), fields);
            }
            Item::Const(item) if item.ident.to_string().starts_with("VSND_") => {
                let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(value), .. }) = &*item.expr else {
                    panic!("{} is no number", item.ident)
                };
                self.constants.insert(item.ident.to_string(), value.base10_parse().expect("a number"));
            }
            _ => {}
        }
    }

    fn function(&self, signature: &Signature) -> (String, Function) {
        let arguments = signature.inputs.iter().map(|argument| match argument {
            FnArg::Typed(argument) => self.kind(&argument.ty),
            FnArg::Receiver(_) => panic!("{}: a method", signature.ident),
        });
        let returns = match &signature.output {
            ReturnType::Default => "void".to_owned(),
            ReturnType::Type(_, kind) => self.kind(kind),
        };
        (signature.ident.to_string(), Function { arguments: arguments.collect(), returns })
    }

    fn members(&self, name: &str, kind: &Type) -> Vec<Field> {
        let field = |name: String, kind| vec![Field { name, kind }];
        let Type::Array(array) = kind else { return field(name.to_owned(), self.kind(kind)) };
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(length), .. }) = &array.len else {
            panic!("{name}: an array whose length is no number")
        };
        let element = self.kind(&array.elem);
        match length.base10_parse() {
            Ok(0) => field(name.to_owned(), format!("[{element}; 0]")),
            Ok(2) => ["min", "max"].map(|end| Field { name: format!("{name}_{end}"), kind: element.clone() }).into(),
            other => panic!("{name}: an array of {other:?}"),
        }
    }

    fn kind(&self, kind: &Type) -> String {
        match kind {
            Type::Ptr(pointer) => {
                format!("*{} {}", if pointer.mutability.is_some() { "mut" } else { "const" }, self.kind(&pointer.elem))
            }
            Type::Reference(reference) => {
                format!(
                    "*{} {}",
                    if reference.mutability.is_some() { "mut" } else { "const" },
                    self.kind(&reference.elem)
                )
            }
            Type::Path(path) => {
                let last = path.path.segments.last().expect("a name");
                match last.ident.to_string().as_str() {
                    "c_void" => "void".to_owned(),
                    "c_char" => "u8".to_owned(),
                    "c_int" => "i32".to_owned(),
                    "c_long" => "long".to_owned(),
                    same @ ("bool" | "u8" | "u32" | "u64" | "i32" | "usize" | "isize") => same.to_owned(),
                    "MaybeUninit" => match &last.arguments {
                        syn::PathArguments::AngleBracketed(arguments) => match arguments.args.first() {
                            Some(syn::GenericArgument::Type(inner)) => self.kind(inner),
                            _ => panic!("MaybeUninit of what?"),
                        },
                        _ => panic!("MaybeUninit of what?"),
                    },
                    name => self.names.get(name).unwrap_or_else(|| panic!("{name} has no name in C")).clone(),
                }
            }
            _ => panic!("a type that C has not"),
        }
    }
}

fn repr_c(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("repr") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "C")
    })
}

/// Each type's name in C begins its documentation: "/// `struct vsnd_node`".
fn names_in_c(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split("/// `struct ").skip(1).map(|rest| {
        let (c, rest) = rest.split_once('`').expect("the end of a name");
        let line = rest.lines().skip(1).map(str::trim).find(|line| !line.starts_with("///") && !line.starts_with("#["));
        let line = line.expect("a type");
        let rust = line.trim_start_matches("pub(crate) struct ").trim_end_matches([',', '{', ' ']);
        (rust.to_owned(), format!("struct {c}"))
    })
}
