//! From a text to a tree: CEL's own parser, then names and types.

use super::variable::{Type, Variable};
use super::{PredicateError, Relation, Test, TextTest, Value};
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use cel::{Env, IdedExpr};

/// The tree of a predicate's text.
pub(super) fn tree(text: &str) -> Result<Test, PredicateError> {
    // A parser recurses as deeply as it is told to.
    if text.len() > LONGEST {
        return Err(error(format!("it is longer than {LONGEST} bytes")));
    }
    let nested = text.bytes().filter(|b| b"([{!-".contains(b)).count();
    if nested > DEEPEST {
        return Err(error(format!("it nests more than {DEEPEST} times")));
    }
    let program = Env::stdlib().compile(text).map_err(|errors| {
        let first = errors.to_string();
        let first = first.lines().next().unwrap_or_default();
        let first = first.strip_prefix("ERROR: <input>:").unwrap_or(first);
        error(format!("it is no CEL: {first}"))
    })?;
    test(program.expression())
}

/// Bytes of a predicate: a rule that is longer is several.
const LONGEST: usize = 4_096;

/// Brackets and signs in all.
const DEEPEST: usize = 64;

fn error(what: impl Into<String>) -> PredicateError {
    PredicateError(what.into())
}

/// Something that is true or not.
fn test(expr: &IdedExpr) -> Result<Test, PredicateError> {
    match &expr.expr {
        Expr::Literal(LiteralValue::Boolean(known)) => Ok(Test::Known(*known.inner())),
        Expr::Ident(_) | Expr::Select(_) => {
            let variable = variable(expr)?;
            match variable.kind() {
                Type::Bool => Ok(Test::Is(variable)),
                kind => Err(error(format!(
                    "{} is {}, which is neither true nor false: compare it",
                    shown(expr),
                    called(kind)
                ))),
            }
        }
        Expr::Call(call) => of_call(call),
        _ => Err(unused("this form")),
    }
}

fn of_call(call: &CallExpr) -> Result<Test, PredicateError> {
    if let Some(target) = &call.target {
        return of_text(call, target);
    }
    let two = |make: fn(Box<Test>, Box<Test>) -> Test| match call.args.as_slice() {
        [one, other] => Ok(make(Box::new(test(one)?), Box::new(test(other)?))),
        _ => Err(unused(&call.func_name)),
    };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::LOGICAL_AND, _) => two(Test::All),
        (operators::LOGICAL_OR, _) => two(Test::Any),
        (operators::LOGICAL_NOT, [one]) => Ok(Test::Not(Box::new(test(one)?))),
        (operators::CONDITIONAL, [one, then, or]) => Ok(Test::If(
            Box::new(test(one)?),
            Box::new(test(then)?),
            Box::new(test(or)?),
        )),
        (operators::IN, [one, all]) => of_list(one, all),
        (operators::INDEX, [..]) => Err(error(format!(
            "tags[...] is written tags.name: {}",
            call.func_name
        ))),
        (name, [one, other]) => match relation(name) {
            Some(relation) => compare(one, relation, other),
            None => Err(unused(name)),
        },
        (name, _) => Err(unused(name)),
    }
}

fn relation(operator: &str) -> Option<Relation> {
    Some(match operator {
        operators::EQUALS => Relation::Equal,
        operators::NOT_EQUALS => Relation::Unequal,
        operators::LESS => Relation::Less,
        operators::LESS_EQUALS => Relation::AtMost,
        operators::GREATER => Relation::More,
        operators::GREATER_EQUALS => Relation::AtLeast,
        _ => return None,
    })
}

fn compare(one: &IdedExpr, relation: Relation, other: &IdedExpr) -> Result<Test, PredicateError> {
    let (Ok(left), Ok(right)) = (value(one), value(other)) else {
        // Not values, or wrong ones: the first fault is told.
        return match (relation, test(one), test(other)) {
            (Relation::Equal, Ok(one), Ok(other)) => Ok(Test::Same(Box::new(one), Box::new(other))),
            (Relation::Unequal, Ok(one), Ok(other)) => Ok(Test::Not(Box::new(Test::Same(
                Box::new(one),
                Box::new(other),
            )))),
            (_, Ok(_), Ok(_)) => Err(error("what is true or false has no order")),
            _ => Err(fault(one).or(fault(other)).unwrap_or_else(|| {
                error(format!(
                    "{} and {} cannot be compared",
                    shown(one),
                    shown(other)
                ))
            })),
        };
    };
    comparable((&left, one), (&right, other))?;
    Ok(Test::Compare(left, relation, right))
}

/// What is wrong with a value, if it is that.
fn fault(expr: &IdedExpr) -> Option<PredicateError> {
    let is_test = test(expr).is_ok();
    value(expr).err().filter(|_| !is_test)
}

fn comparable(
    (one, written): (&Value, &IdedExpr),
    (other, beside): (&Value, &IdedExpr),
) -> Result<(), PredicateError> {
    let is_number = |value: &Value| matches!(value.kind(), Type::Int | Type::Double);
    if one.kind() != other.kind() && !(is_number(one) && is_number(other)) {
        return Err(error(format!(
            "{} is {}, {} is {}",
            shown(written),
            called(one.kind()),
            shown(beside),
            called(other.kind())
        )));
    }
    for (variable, text) in [(one, other), (other, one)] {
        if let (Value::Of(variable), Value::Text(text)) = (variable, text)
            && !variable.can_be(text)
        {
            return Err(error(format!("nothing is called \"{text}\" there")));
        }
    }
    Ok(())
}

fn of_list(one: &IdedExpr, all: &IdedExpr) -> Result<Test, PredicateError> {
    let Expr::List(list) = &all.expr else {
        return Err(error("after 'in' stands a list: [\"a\", \"b\"]"));
    };
    let left = value(one)?;
    let elements = list.elements.iter().map(|element| {
        let right = value(element)?;
        comparable((&left, one), (&right, element))?;
        Ok(right)
    });
    let elements = elements.collect::<Result<_, PredicateError>>()?;
    Ok(Test::In(left, elements))
}

fn of_text(call: &CallExpr, target: &IdedExpr) -> Result<Test, PredicateError> {
    let kind = match call.func_name.as_str() {
        "startsWith" => TextTest::StartsWith,
        "endsWith" => TextTest::EndsWith,
        "contains" => TextTest::Contains,
        name => return Err(unused(name)),
    };
    let variable = variable(target)?;
    if variable.kind() != Type::Text {
        return Err(error(format!("{} is no text", shown(target))));
    }
    match call.args.as_slice() {
        [
            IdedExpr {
                expr: Expr::Literal(LiteralValue::String(part)),
                ..
            },
        ] => Ok(Test::Text(variable, kind, part.inner().into())),
        _ => Err(error(format!(
            "{}(...) takes a text in quotes",
            call.func_name
        ))),
    }
}

impl Value {
    const fn kind(&self) -> Type {
        match self {
            Self::Of(variable) => variable.kind(),
            Self::Int(_) => Type::Int,
            Self::Double(_) => Type::Double,
            Self::Text(_) => Type::Text,
        }
    }
}

/// A number or a text. What is true or false is none: it has no order.
fn value(expr: &IdedExpr) -> Result<Value, PredicateError> {
    match &expr.expr {
        Expr::Literal(LiteralValue::Int(int)) => Ok(Value::Int(*int.inner())),
        Expr::Literal(LiteralValue::Double(double)) => Ok(Value::Double(*double.inner())),
        Expr::Literal(LiteralValue::String(text)) => Ok(Value::Text(text.inner().into())),
        Expr::Ident(_) | Expr::Select(_) => match variable(expr)? {
            variable if variable.kind() == Type::Bool => {
                Err(error(format!("{} is true or false", shown(expr))))
            }
            variable => Ok(Value::Of(variable)),
        },
        Expr::Call(call) if call.func_name == operators::NEGATE => match call.args.as_slice() {
            [one] => match value(one)? {
                Value::Int(int) => Ok(Value::Int(int.saturating_neg())),
                Value::Double(double) => Ok(Value::Double(-double)),
                _ => Err(unused("a minus there")),
            },
            _ => Err(unused("this form")),
        },
        Expr::Call(call) => Err(unused(&call.func_name)),
        _ => Err(unused("this form")),
    }
}

fn variable(expr: &IdedExpr) -> Result<Variable, PredicateError> {
    let unknown = || error(format!("nothing is called {}", shown(expr)));
    match &expr.expr {
        Expr::Ident(name) => Variable::named(&[name]).ok_or_else(unknown),
        Expr::Select(select) if !select.test => match &select.operand.expr {
            Expr::Ident(name) => Variable::named(&[name, &select.field]).ok_or_else(unknown),
            _ => Err(unknown()),
        },
        Expr::Select(_) => Err(unused("has()")),
        _ => Err(error(format!("{} is no variable", shown(expr)))),
    }
}

/// As it may have been written.
fn shown(expr: &IdedExpr) -> String {
    match &expr.expr {
        Expr::Ident(name) => format!("'{name}'"),
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(name) => format!("'{name}.{}'", select.field),
            _ => format!("'.{}'", select.field),
        },
        Expr::Literal(LiteralValue::String(text)) => format!("\"{}\"", text.inner()),
        Expr::Literal(LiteralValue::Int(int)) => int.inner().to_string(),
        Expr::Literal(LiteralValue::Double(double)) => double.inner().to_string(),
        Expr::Literal(LiteralValue::Boolean(known)) => known.inner().to_string(),
        _ => "this".to_owned(),
    }
}

const fn called(kind: Type) -> &'static str {
    match kind {
        Type::Bool => "true or false",
        Type::Int | Type::Double => "a number",
        Type::Text => "a text",
    }
}

fn unused(what: &str) -> PredicateError {
    error(format!(
        "{what} is not used here: &&, ||, !, ?:, comparisons, in [...], startsWith, endsWith, \
         contains are"
    ))
}
