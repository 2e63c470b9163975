//! The scanner: a state machine over the bytes with an explicit stack, so that no nesting can
//! exhaust the thread's own.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use super::text::{self, Fault, Stops};
use super::{Document, Kind, Known, Limits, Member, ScanError, ScanErrorKind, Span, number};

/// Up to this many names an object's names are compared one by one; beyond it they are hashed,
/// with a seed that the sender cannot know.
const COMPARE_UP_TO: usize = 16;

/// Names longer than this are not shown in an error's path.
const SHOWN_NAME: usize = 64;

/// Levels shown in an error's path.
const SHOWN_LEVELS: usize = 6;

/// Validates `body` and finds the members of its top-level object.
///
/// Time is linear in the body's length; memory depends on the number of top-level members and
/// on the names of the objects open at the same time, both bounded by `limits`.
///
/// # Errors
/// The first fault found, with its position. Invalid UTF-8 is found before anything else.
pub fn scan(body: &[u8], limits: &Limits, known: &Known<'_>) -> Result<Document, ScanError> {
    check_encoding(body).map_err(|(kind, offset)| ScanError {
        kind,
        offset,
        path: None,
    })?;
    let mut scanner = Scanner::new(body, limits, known);
    match scanner.run() {
        Ok(open) => Ok(Document {
            members: scanner.members,
            open,
            depth: scanner.deepest,
        }),
        Err((kind, offset)) => Err(ScanError {
            kind,
            offset,
            path: scanner.path(),
        }),
    }
}

fn check_encoding(body: &[u8]) -> Result<(), Fault> {
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err((ScanErrorKind::ByteOrderMark, 0));
    }
    match std::str::from_utf8(body) {
        Ok(_) => Ok(()),
        Err(error) => Err((ScanErrorKind::InvalidUtf8, error.valid_up_to())),
    }
}

/// What must come next.
enum Next {
    /// After `{`.
    FirstName,
    /// After a comma in an object.
    Name,
    /// After `[`.
    FirstElement,
    /// After a comma in an array.
    Element,
    /// After a colon.
    Value,
    /// After a value: a comma, a closing bracket, or the end.
    Rest,
}

/// An open object or array.
struct Frame {
    object: bool,
    /// Where this object's names start in `Scanner::names`.
    names: usize,
    /// Elements begun so far, if an array.
    elements: usize,
}

#[derive(Clone, Copy)]
struct Name {
    span: Span,
    escaped: bool,
}

struct Scanner<'a> {
    body: &'a [u8],
    stops: Stops<'a>,
    limits: &'a Limits,
    known: &'a Known<'a>,
    at: usize,
    frames: Vec<Frame>,
    /// Names of all open objects, outermost first.
    names: Vec<Name>,
    /// The names of open objects that have many, with the depth of each such object.
    hashed: Vec<(usize, HashSet<Cow<'a, [u8]>>)>,
    total_names: usize,
    members: Vec<Member>,
    deepest: usize,
    /// Whether the innermost object is between a comma or brace and the end of a name.
    naming: bool,
    /// The names known in objects directly inside the top-level array being read.
    nested: Option<&'a [&'a str]>,
}

impl<'a> Scanner<'a> {
    fn new(body: &'a [u8], limits: &'a Limits, known: &'a Known<'a>) -> Self {
        Self {
            body,
            stops: Stops::new(body),
            limits,
            known,
            at: 0,
            frames: Vec::with_capacity(8),
            names: Vec::with_capacity(32),
            hashed: Vec::new(),
            total_names: 0,
            members: Vec::with_capacity(16),
            deepest: 0,
            naming: false,
            nested: None,
        }
    }

    /// Reads the whole body; returns the position of the opening brace.
    fn run(&mut self) -> Result<usize, Fault> {
        match self.token() {
            Some(b'{') => {}
            Some(_) => return Err((ScanErrorKind::NotAnObject, self.at)),
            None => return Err((ScanErrorKind::UnexpectedEnd, self.at)),
        }
        let open = self.at;
        let mut next = self.open(true)?;
        while !self.frames.is_empty() {
            next = match next {
                Next::FirstName => self.first_name()?,
                Next::Name => self.name()?,
                Next::FirstElement => self.first_element()?,
                Next::Element => self.element()?,
                Next::Value => self.value()?,
                Next::Rest => self.rest()?,
            };
        }
        match self.token() {
            None => Ok(open),
            Some(_) => Err((ScanErrorKind::TrailingData, self.at)),
        }
    }

    /// Skips whitespace and returns the byte there, without consuming it.
    fn token(&mut self) -> Option<u8> {
        loop {
            match self.body.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn first_name(&mut self) -> Result<Next, Fault> {
        match self.token() {
            Some(b'}') => Ok(self.close()),
            _ => self.name(),
        }
    }

    fn name(&mut self) -> Result<Next, Fault> {
        self.naming = true;
        match self.token() {
            Some(b'"') => {}
            Some(b'}') => return Err((ScanErrorKind::TrailingComma, self.at)),
            Some(_) => return Err((ScanErrorKind::ExpectedName, self.at)),
            None => return Err((ScanErrorKind::UnexpectedEnd, self.at)),
        }
        let start = self.at + 1;
        let found = self.stops.string(start)?;
        let name = Name {
            span: Span::new(start, found.close),
            escaped: found.escaped,
        };
        self.at = found.close + 1;
        self.admit(name)?;
        match self.token() {
            Some(b':') => self.at += 1,
            Some(_) => return Err((ScanErrorKind::ExpectedColon, self.at)),
            None => return Err((ScanErrorKind::UnexpectedEnd, self.at)),
        }
        Ok(Next::Value)
    }

    /// Checks a name against the limits, the other names of its object and the known ones.
    fn admit(&mut self, name: Name) -> Result<(), Fault> {
        let at = name.span.start.saturating_sub(1);
        if name.span.len() > self.limits.name_bytes {
            return Err((ScanErrorKind::NameTooLong, at));
        }
        self.total_names += 1;
        if self.total_names > self.limits.names {
            return Err((ScanErrorKind::TooManyNames, at));
        }
        let plain = text::unescape(name.span.of(self.body), name.escaped);
        if name.escaped && plain.contains(&0) {
            return Err((ScanErrorKind::NulInName, at));
        }
        let first = self.frames.last().map_or(0, |frame| frame.names);
        self.names.push(name);
        self.naming = false;
        if text::differs_in_case(&plain, self.known_here()) {
            return Err((ScanErrorKind::NameCase, at));
        }
        if self.frames.len() == 1 {
            self.members.push(Member {
                name: name.span,
                name_escaped: name.escaped,
                value: Span::default(),
                kind: Kind::Null,
                value_escaped: false,
                elements: 0,
            });
        }
        if self.is_duplicate(first, plain) {
            return Err((ScanErrorKind::DuplicateName, at));
        }
        Ok(())
    }

    /// The names that mean something in the innermost object.
    fn known_here(&self) -> &'a [&'a str] {
        match (self.frames.len(), self.nested) {
            (1, _) => self.known.top,
            // The frames are the top-level object, its array, and an object inside that.
            (3, Some(names)) => names,
            _ => &[],
        }
    }

    /// Whether `plain`, the last of `names`, occurs among the others from `first` on.
    fn is_duplicate(&mut self, first: usize, plain: Cow<'a, [u8]>) -> bool {
        let [others @ .., _] = self.names.get(first..).unwrap_or_default() else {
            return false;
        };
        if others.len() < COMPARE_UP_TO {
            return others
                .iter()
                .any(|name| text::same(name.span.of(self.body), name.escaped, &plain));
        }
        let depth = self.frames.len();
        if self.hashed.last().is_none_or(|(at, _)| *at != depth) {
            let body = self.body;
            let plain_names = others
                .iter()
                .map(|name| text::unescape(name.span.of(body), name.escaped));
            self.hashed.push((depth, plain_names.collect()));
        }
        match self.hashed.last_mut() {
            Some((_, names)) => !names.insert(plain),
            None => false,
        }
    }

    fn first_element(&mut self) -> Result<Next, Fault> {
        match self.token() {
            Some(b']') => Ok(self.close()),
            _ => self.element(),
        }
    }

    fn element(&mut self) -> Result<Next, Fault> {
        if self.token() == Some(b']') {
            return Err((ScanErrorKind::TrailingComma, self.at));
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.elements += 1;
        }
        self.value()
    }

    fn value(&mut self) -> Result<Next, Fault> {
        let byte = self.token();
        let start = self.at;
        let mut escaped = false;
        let kind = match byte {
            Some(b'"') => {
                let found = self.stops.string(start + 1)?;
                self.at = found.close + 1;
                escaped = found.escaped;
                Kind::String
            }
            Some(b'{') => return self.open(true),
            Some(b'[') => return self.open(false),
            Some(b'-' | b'0'..=b'9') => {
                self.at = number::end(self.body, start, self.limits.number_bytes)?;
                Kind::Number
            }
            Some(b't') => self.literal(b"true", Kind::True)?,
            Some(b'f') => self.literal(b"false", Kind::False)?,
            Some(b'n') => self.literal(b"null", Kind::Null)?,
            Some(_) => return Err((ScanErrorKind::ExpectedValue, start)),
            None => return Err((ScanErrorKind::UnexpectedEnd, start)),
        };
        if let (1, Some(member)) = (self.frames.len(), self.members.last_mut()) {
            member.value = Span::new(start, self.at);
            member.kind = kind;
            member.value_escaped = escaped;
        }
        Ok(Next::Rest)
    }

    fn literal(&mut self, word: &[u8], kind: Kind) -> Result<Kind, Fault> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at += word.len();
            Ok(kind)
        } else {
            Err((ScanErrorKind::ExpectedValue, self.at))
        }
    }

    fn open(&mut self, object: bool) -> Result<Next, Fault> {
        if self.frames.len() >= self.limits.depth {
            return Err((ScanErrorKind::TooDeep, self.at));
        }
        if let (1, Some(member)) = (self.frames.len(), self.members.last_mut()) {
            member.value.start = self.at;
            member.kind = if object { Kind::Object } else { Kind::Array };
            let (body, member) = (self.body, *member);
            let mut nested = self.known.nested.iter();
            self.nested = nested
                .find(|(array, _)| !object && member.is_named(body, array))
                .map(|(_, names)| *names);
        }
        self.at += 1;
        self.frames.push(Frame {
            object,
            names: self.names.len(),
            elements: 0,
        });
        self.deepest = self.deepest.max(self.frames.len());
        self.naming = object;
        Ok(if object {
            Next::FirstName
        } else {
            Next::FirstElement
        })
    }

    fn rest(&mut self) -> Result<Next, Fault> {
        let object = self.frames.last().is_some_and(|frame| frame.object);
        match (self.token(), object) {
            (Some(b','), true) => {
                self.at += 1;
                Ok(Next::Name)
            }
            (Some(b','), false) => {
                self.at += 1;
                Ok(Next::Element)
            }
            (Some(b'}'), true) | (Some(b']'), false) => Ok(self.close()),
            (Some(_), _) => Err((ScanErrorKind::ExpectedComma, self.at)),
            (None, _) => Err((ScanErrorKind::UnexpectedEnd, self.at)),
        }
    }

    fn close(&mut self) -> Next {
        self.at += 1;
        self.hashed.pop_if(|(depth, _)| *depth == self.frames.len());
        if let Some(frame) = self.frames.pop() {
            self.names.truncate(frame.names);
            if let (1, Some(member)) = (self.frames.len(), self.members.last_mut()) {
                member.value.end = self.at;
                member.elements = frame.elements;
                self.nested = None;
            }
        }
        self.naming = false;
        Next::Rest
    }

    /// The field being read, for an error.
    fn path(&self) -> Option<String> {
        let mut path = String::new();
        let ends = self.frames.iter().skip(1).map(|frame| frame.names);
        let ends = ends.chain([self.names.len()]);
        for (level, (frame, end)) in self.frames.iter().zip(ends).enumerate() {
            if level == SHOWN_LEVELS {
                path.push_str("...");
                break;
            }
            if frame.object {
                let innermost = level + 1 == self.frames.len();
                let own = self.names.get(frame.names..end).unwrap_or_default();
                if let (Some(name), false) = (own.last(), innermost && self.naming) {
                    let dot = if path.is_empty() { "" } else { "." };
                    path.push_str(dot);
                    path.push_str(self.shown(*name));
                }
            } else if let Some(index) = frame.elements.checked_sub(1) {
                // Writing to a String cannot fail.
                let _ = write!(path, "[{index}]");
            }
        }
        (!path.is_empty()).then_some(path)
    }

    fn shown(&self, name: Name) -> &'a str {
        let raw = name.span.of(self.body);
        let printable = raw.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(raw) {
            Ok(text) if printable && (1..=SHOWN_NAME).contains(&text.len()) => text,
            _ => "*",
        }
    }
}
