//! Typed keys: an operation's table declares them, and its function reads and writes members with them.
//!
//! A [`Key`] has a member's name and its shape; its type says what the member holds and whether it may be absent. The
//! table of an operation lists keys, and its function passes the same keys to [`Input::get`] and [`Members::set`]. A
//! mistyped member does not compile, and neither does one that is read as another type.

use std::fmt::Display;
use std::marker::PhantomData;

use super::arn::{ConsumerArn, ReaderArn, StreamArn};
use super::convert::{Input, Value};
use super::protocol::{Protocol, Writer};
use super::shape::{AnyShape, Kind, Lengths, Member, Pattern};
use crate::{
    ConsumerStatus, HashKey, ReaderStatus, SequenceNumber, ShardId, StreamMode, StreamStatus, Timestamp,
};

/// A member of a structure. `T` is [the type of its value](Holds), or an `Option` of that if it may be absent.
#[derive(Debug)]
pub(super) struct Key<T> {
    member: Member,
    of: PhantomData<fn() -> T>,
}

/// A required member.
pub(super) const fn required<H: Holds>(name: &'static str, mut shape: Shape<H>) -> Key<H> {
    shape.any.required = true;
    Key::new(name, shape.any)
}

/// A member that may be absent.
pub(super) const fn optional<H: Holds>(name: &'static str, shape: Shape<H>) -> Key<Option<H>> {
    Key::new(name, shape.any)
}

impl<T> Key<T> {
    const fn new(name: &'static str, shape: AnyShape) -> Key<T> {
        Key {
            member: Member { name, shape },
            of: PhantomData,
        }
    }

    pub(super) const fn member(self) -> Member {
        self.member
    }

    /// The members of a structure.
    #[cfg(test)]
    pub(super) fn members(self) -> &'static [Member] {
        self.member.shape.kind.of_members()
    }

    pub(super) const fn name(self) -> &'static str {
        self.member.name
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

/// The members of a structure, given by their keys.
macro_rules! members {
    ($($key:expr),* $(,)?) => { &[$($key.member()),*] };
}
pub(super) use members;

/// The place of this one in `members`.
fn position(members: &[Member], member: &Member) -> Option<usize> {
    members.iter().position(|declared| {
        declared.name == member.name
            && declared.shape.required == member.shape.required
            && std::mem::discriminant(&declared.shape.kind) == std::mem::discriminant(&member.shape.kind)
    })
}

/// The shape of a key's value.
#[derive(Debug)]
pub(super) struct Shape<H> {
    any: AnyShape,
    of: PhantomData<fn() -> H>,
}

impl<H> Clone for Shape<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Shape<H> {}

/// The type of a member's value, and how a function gets it.
pub(super) trait Holds {
    type Read<'v>;

    /// `None` if the value has another type, which the conversion has excluded.
    fn read<'v>(value: &'v Value<'v>) -> Option<Self::Read<'v>>;
}

#[derive(Debug)]
pub(super) enum Text {}
#[derive(Debug)]
pub(super) enum Integer {}
#[derive(Debug)]
pub(super) enum Long {}
#[derive(Debug)]
pub(super) enum Boolean {}
#[derive(Debug)]
pub(super) enum Blob {}
#[derive(Debug)]
pub(super) enum Time {}
#[derive(Debug)]
pub(super) enum Structure {}
#[derive(Debug)]
pub(super) enum Events {}
/// A list of `H`.
#[derive(Debug)]
pub(super) struct List<H>(PhantomData<H>);
/// A map from strings to `H`.
#[derive(Debug)]
pub(super) struct Map<H>(PhantomData<H>);

pub(super) const TEXT: Shape<Text> = Shape::of(Kind::String);
pub(super) const INTEGER: Shape<Integer> = Shape::of(Kind::Integer);
pub(super) const LONG: Shape<Long> = Shape::of(Kind::Long);
pub(super) const BOOLEAN: Shape<Boolean> = Shape::of(Kind::Boolean);
pub(super) const BLOB: Shape<Blob> = Shape::of(Kind::Blob);
pub(super) const TIME: Shape<Time> = Shape::of(Kind::Timestamp);

pub(super) const fn list<H>(items: &'static Shape<H>) -> Shape<List<H>> {
    Shape::of(Kind::List(&items.any))
}

pub(super) const fn map<H>(values: &'static Shape<H>) -> Shape<Map<H>> {
    Shape::of(Kind::Map(&values.any))
}

pub(super) const fn structure(members: &'static [Member]) -> Shape<Structure> {
    Shape::of(Kind::Structure(members))
}

pub(super) const fn events(members: &'static [Member]) -> Shape<Events> {
    Shape::of(Kind::Events(members))
}

impl<H> Shape<H> {
    const fn of(kind: Kind) -> Shape<H> {
        Shape {
            any: AnyShape::of(kind),
            of: PhantomData,
        }
    }

    /// Least value of a number; least length of anything else.
    pub(super) const fn at_least(mut self, minimum: i64) -> Shape<H> {
        self.any.minimum = Some(minimum);
        self
    }

    /// Greatest value of a number; greatest length of anything else.
    pub(super) const fn at_most(mut self, maximum: i64) -> Shape<H> {
        self.any.maximum = Some(maximum);
        self
    }

    /// AWS does not repeat the value in its message.
    pub(super) const fn masked(mut self) -> Shape<H> {
        self.any.masked = true;
        self
    }
}

impl Shape<Text> {
    pub(super) const fn pattern(mut self, pattern: Pattern) -> Shape<Text> {
        self.any.pattern = Some(pattern);
        self
    }

    pub(super) const fn one_of(mut self, values: &'static [&'static str]) -> Shape<Text> {
        self.any.one_of = values;
        self
    }
}

impl<H> Shape<List<H>> {
    /// Least and greatest number of characters of each entry.
    pub(super) const fn entry_lengths(mut self, minimum: usize, maximum: usize) -> Shape<List<H>> {
        self.any.value_lengths = Some(Lengths { minimum, maximum });
        self
    }
}

impl<H> Shape<Map<H>> {
    pub(super) const fn key_lengths(mut self, minimum: usize, maximum: usize) -> Shape<Map<H>> {
        self.any.key_lengths = Some(Lengths { minimum, maximum });
        self
    }

    pub(super) const fn value_lengths(mut self, minimum: usize, maximum: usize) -> Shape<Map<H>> {
        self.any.value_lengths = Some(Lengths { minimum, maximum });
        self
    }
}

impl Holds for Text {
    type Read<'v> = &'v str;

    fn read<'v>(value: &'v Value<'v>) -> Option<&'v str> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Holds for Integer {
    type Read<'v> = i64;

    fn read<'v>(value: &'v Value<'v>) -> Option<i64> {
        match value {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

/// Only replies have them.
impl Holds for Long {
    type Read<'v> = std::convert::Infallible;

    fn read<'v>(_: &'v Value<'v>) -> Option<std::convert::Infallible> {
        None
    }
}

/// Only replies have them.
impl Holds for Events {
    type Read<'v> = std::convert::Infallible;

    fn read<'v>(_: &'v Value<'v>) -> Option<std::convert::Infallible> {
        None
    }
}

impl Holds for Boolean {
    type Read<'v> = bool;

    fn read<'v>(value: &'v Value<'v>) -> Option<bool> {
        match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }
}

impl Holds for Blob {
    type Read<'v> = &'v [u8];

    fn read<'v>(value: &'v Value<'v>) -> Option<&'v [u8]> {
        match value {
            Value::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Milliseconds since 1970.
impl Holds for Time {
    type Read<'v> = i64;

    fn read<'v>(value: &'v Value<'v>) -> Option<i64> {
        match value {
            Value::Timestamp(milliseconds) => Some(*milliseconds),
            _ => None,
        }
    }
}

impl Holds for Structure {
    type Read<'v> = &'v Input<'v>;

    fn read<'v>(value: &'v Value<'v>) -> Option<&'v Input<'v>> {
        match value {
            Value::Structure(structure) => Some(structure),
            _ => None,
        }
    }
}

/// The items in order.
impl<H: Holds> Holds for List<H> {
    type Read<'v> =
        std::iter::FilterMap<std::slice::Iter<'v, Value<'v>>, fn(&'v Value<'v>) -> Option<H::Read<'v>>>;

    fn read<'v>(value: &'v Value<'v>) -> Option<Self::Read<'v>> {
        match value {
            Value::List(list) => Some(
                list.iter()
                    .filter_map(H::read as fn(&'v Value<'v>) -> Option<H::Read<'v>>),
            ),
            _ => None,
        }
    }
}

/// The entries in the order of the request, each a key and a value.
impl<H: Holds> Holds for Map<H> {
    type Read<'v> = Vec<(&'v str, H::Read<'v>)>;

    fn read<'v>(value: &'v Value<'v>) -> Option<Self::Read<'v>> {
        match value {
            Value::Map(map) => Some(
                map.iter()
                    .filter_map(|(key, value)| Some((key.as_ref(), H::read(value)?)))
                    .collect(),
            ),
            _ => None,
        }
    }
}

impl Input<'_> {
    pub(super) fn get<T: Presence>(&self, key: Key<T>) -> T::Got<'_> {
        let name = key.name();
        let is_declared = !cfg!(debug_assertions) || position(self.declared, &key.member).is_some();
        debug_assert!(is_declared, "the operation's table does not have {name}");
        T::got(name, self.value(name))
    }

    pub(super) fn is_given<H: Holds>(&self, key: Key<Option<H>>) -> bool {
        self.value(key.name()).is_some()
    }

    /// How many items are wanted, at most `most`.
    pub(super) fn limit(&self, key: Key<Option<Integer>>, most: usize) -> usize {
        let wanted = self.get(key).and_then(|number| usize::try_from(number).ok());
        wanted.map_or(most, |wanted| wanted.min(most))
    }
}

/// Whether a member may be absent, by the type of its key.
pub(super) trait Presence {
    type Held: Holds;
    type Got<'v>;

    /// `None` means absent, which the checks have refused for a required member.
    fn got<'v>(name: &str, value: Option<&'v Value<'v>>) -> Self::Got<'v>;
}

impl<H: Holds> Presence for H {
    type Held = H;
    type Got<'v> = H::Read<'v>;

    fn got<'v>(name: &str, value: Option<&'v Value<'v>>) -> H::Read<'v> {
        value
            .and_then(H::read)
            .unwrap_or_else(|| panic!("the operation's table must require {name}"))
    }
}

impl<H: Holds> Presence for Option<H> {
    type Held = H;
    type Got<'v> = Option<H::Read<'v>>;

    fn got<'v>(_: &str, value: Option<&'v Value<'v>>) -> Option<H::Read<'v>> {
        value.and_then(H::read)
    }
}

/// Writes the members of a structure in a reply.
pub(super) struct Members<'w> {
    writer: &'w mut Writer,
    declared: &'static [Member],
    /// Which of the declared ones have been written; used only in debug builds.
    written: u64,
}

/// The bytes of a reply that is one structure.
pub(super) fn write_structure(
    protocol: Protocol,
    capacity: usize,
    declared: &'static [Member],
    members: impl FnOnce(&mut Members<'_>),
) -> Vec<u8> {
    let mut writer = Writer::with_capacity(protocol, capacity);
    structure_into(&mut writer, declared, members);
    writer.into_bytes()
}

fn structure_into(writer: &mut Writer, declared: &'static [Member], members: impl FnOnce(&mut Members<'_>)) {
    writer.structure(|writer| {
        let mut structure = Members {
            writer,
            declared,
            written: 0,
        };
        members(&mut structure);
        structure.check_whole();
    });
}

impl Members<'_> {
    pub(super) fn set<T: Presence>(&mut self, key: Key<T>, value: impl WriteAs<T::Held>) {
        self.check_declared(&key.member);
        self.writer.member(key.name());
        value.write(self.writer, key.member.shape.kind);
    }

    /// Sets a member if there is a value.
    pub(super) fn set_some<H: Holds>(&mut self, key: Key<Option<H>>, value: Option<impl WriteAs<H>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Sets a list of structures.
    pub(super) fn set_list<T, I>(
        &mut self,
        key: Key<T>,
        items: impl IntoIterator<Item = I>,
        mut each: impl FnMut(&mut Members<'_>, I),
    ) where
        T: Presence<Held = List<Structure>>,
    {
        self.check_declared(&key.member);
        let members = key.member.shape.kind.of_items().of_members();
        self.writer.member(key.name()).list(items, |writer, item| {
            structure_into(writer, members, |members| each(members, item));
        });
    }

    /// A list that the caller fills later. Gives the number of bytes in front of the place of its items.
    pub(super) fn set_empty_list<H: Holds>(&mut self, key: Key<List<H>>) -> usize {
        self.check_declared(&key.member);
        self.writer.member(key.name()).empty_list()
    }

    /// Leaves out a member that the API model requires, and that AWS leaves out too.
    pub(super) fn leave_out<T: Presence>(&mut self, key: Key<T>) {
        self.check_declared(&key.member);
    }

    fn check_declared(&mut self, member: &Member) {
        if cfg!(debug_assertions) {
            let at = position(self.declared, member);
            let at = at.unwrap_or_else(|| panic!("the structure does not declare {}", member.name));
            assert_eq!(self.written & 1 << at, 0, "{} is written twice", member.name);
            self.written |= 1 << at;
        }
    }

    fn check_whole(&self) {
        if cfg!(debug_assertions) {
            for (at, member) in self.declared.iter().enumerate() {
                let missing = member.shape.required && self.written & 1 << at == 0;
                assert!(!missing, "the reply has to have {}", member.name);
            }
        }
    }
}

impl Kind {
    fn of_items(self) -> Kind {
        match self {
            Kind::List(items) => items.kind,
            other => unreachable!("the key's type says that {other:?} is a list"),
        }
    }

    fn of_members(self) -> &'static [Member] {
        match self {
            Kind::Structure(members) => members,
            other => unreachable!("the key's type says that {other:?} is a structure"),
        }
    }
}

/// A value that can be written where a member holds `H`.
pub(super) trait WriteAs<H> {
    fn write(self, writer: &mut Writer, kind: Kind);
}

impl WriteAs<Text> for &str {
    fn write(self, writer: &mut Writer, _: Kind) {
        writer.string(self);
    }
}

/// A number in digits.
pub(super) struct Digits<'a>(pub(super) &'a [u8]);

impl WriteAs<Text> for Digits<'_> {
    fn write(self, writer: &mut Writer, _: Kind) {
        writer.digits(self.0);
    }
}

/// A type that prints as characters without the need of escaping.
trait Plain: Display {}
impl Plain for ShardId {}
impl Plain for SequenceNumber {}
impl Plain for HashKey {}
impl Plain for ConsumerStatus {}
impl Plain for StreamStatus {}
impl Plain for ReaderStatus {}
impl Plain for ReaderArn<'_> {}
impl Plain for StreamMode {}
impl Plain for StreamArn<'_> {}
impl Plain for ConsumerArn<'_> {}

impl<P: Plain> WriteAs<Text> for P {
    fn write(self, writer: &mut Writer, _: Kind) {
        writer.display(self);
    }
}

impl WriteAs<Blob> for &[u8] {
    fn write(self, writer: &mut Writer, _: Kind) {
        writer.blob(self);
    }
}

impl WriteAs<Integer> for u32 {
    fn write(self, writer: &mut Writer, _: Kind) {
        writer.unsigned(self.into());
    }
}

impl WriteAs<Long> for u64 {
    fn write(self, writer: &mut Writer, _: Kind) {
        writer.unsigned(self);
    }
}

impl WriteAs<Boolean> for bool {
    fn write(self, writer: &mut Writer, _: Kind) {
        writer.boolean(self);
    }
}

impl WriteAs<Time> for Timestamp {
    fn write(self, writer: &mut Writer, _: Kind) {
        writer.timestamp(self);
    }
}

impl<F: FnOnce(&mut Members<'_>)> WriteAs<Structure> for F {
    fn write(self, writer: &mut Writer, kind: Kind) {
        structure_into(writer, kind.of_members(), self);
    }
}

impl<H, I: IntoIterator<Item: WriteAs<H>>> WriteAs<List<H>> for I {
    fn write(self, writer: &mut Writer, kind: Kind) {
        let kind = kind.of_items();
        writer.list(self, |writer, item| item.write(writer, kind));
    }
}
