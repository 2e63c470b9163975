//! A stream through a provider's decoder and the client's encoder.
//!
//! All that one read of the provider tells goes to the client in one write.

use super::Ctx;
use super::attempt::Open;
use super::passing::{Faults, decode};
use super::relay::{End, Expected, Usage, broken, reported};
use super::seam::Seam;
use super::tally::with_cost;
use super::transcript::Transcript;
use super::translated::says_something;
use super::watch::{Broken, Watch};
use crate::chat::{Decoder, Encoder, Event};
use crate::route::pace::tokens_in;
use crate::table::Provider;
use pingora_proxy::Session;

/// What a provider has begun to say.
pub(super) struct Source {
    pub decoder: Box<dyn Decoder>,
    pub faults: Faults,
    pub open: Open,
}

/// What a client is being told.
pub(super) struct Telling {
    pub encoder: Box<dyn Encoder>,
    /// So far, if another may have to go on.
    pub transcript: Option<Transcript>,
    /// Between this answer and the one that it goes on with.
    pub seam: Option<Seam>,
}

/// A stream under translation.
pub(super) struct Translation<'a> {
    ctx: &'a mut Ctx,
    provider: &'a Provider,
    source: Source,
    telling: Telling,
    watch: Watch,
    /// Answers that the client asked for.
    choices: u64,
    usage: Usage,
}

impl<'a> Translation<'a> {
    pub fn new(
        ctx: &'a mut Ctx,
        expected: &Expected,
        provider: &'a Provider,
        source: Source,
        telling: Telling,
    ) -> Self {
        Self {
            ctx,
            provider,
            source,
            telling,
            watch: Watch::stream(&expected.terms.timeouts(&provider.timeouts)),
            choices: expected.choices,
            usage: expected.usage,
        }
    }

    /// Passes the stream on; `events` are those that were decoded before.
    pub async fn relay(&mut self, session: &mut Session, mut events: Vec<Event>) -> End {
        loop {
            if let Some(end) = self.pass(session, &mut events).await {
                return end;
            }
            let source = &mut self.source;
            let piece = self.watch.next(session, self.ctx, &mut source.open).await;
            let decoder = &mut *source.decoder;
            let decoded = match piece {
                Ok(Some(piece)) => decode(decoder, piece, &mut source.faults, &mut events),
                Ok(None) => decoder.end(&mut events).map(|()| events.push(Event::End)),
                Err(Broken::Gone) => return End::Gone,
                Err(Broken::Over(error)) => return End::Over(error),
                // After the finish nothing is missing but the farewell.
                Err(Broken::Upstream(why)) => match decoder.end(&mut events) {
                    Ok(()) if self.choices == 1 => {
                        events.push(Event::End);
                        Ok(())
                    }
                    _ => return End::Lost(broken(&why)),
                },
            };
            if let Err(e) = decoded {
                // What came before the break still goes out.
                if let Some(end) = self.pass(session, &mut events).await {
                    return end;
                }
                return End::Lost(broken(&e.to_string()));
            }
        }
    }

    /// Writes what `events` tell; `Some` when that was the end.
    async fn pass(&mut self, session: &mut Session, events: &mut Vec<Event>) -> Option<End> {
        for _ in 0..self.source.faults.fresh() {
            self.ctx.malformed(&self.provider.name);
        }
        let mut out = Vec::new();
        let mut end = None;
        for event in events.drain(..) {
            self.ctx.tally.decoded(&event);
            if says_something(&event) {
                self.watch.said(tokens(&event));
            }
            if let Event::Failed(failure) = event {
                end = Some(reported(failure, self.provider));
                break;
            }
            end = self.telling.tell(event, &mut out);
            if end.is_some() {
                break;
            }
        }
        if self.usage == Usage::Priced && end.is_some() {
            out = with_cost(&out, self.ctx).into();
        }
        if !out.is_empty()
            && self
                .watch
                .write(session, self.ctx, out.into())
                .await
                .is_err()
        {
            return Some(End::Gone);
        }
        end
    }

    /// The connection, and what the client was told.
    pub fn finish(self) -> (Open, Telling) {
        (self.source.open, self.telling)
    }
}

impl Telling {
    /// Encodes an event; `Some` when it was the last.
    fn tell(&mut self, event: Event, out: &mut Vec<u8>) -> Option<End> {
        let Some(seam) = &mut self.seam else {
            return self.encode(event, out);
        };
        let mut fitting = Vec::new();
        if let Err(misfit) = seam.pass(event, &mut fitting) {
            return Some(End::Over(broken(&misfit.to_string())));
        }
        fitting
            .into_iter()
            .find_map(|event| self.encode(event, out))
    }

    fn encode(&mut self, event: Event, out: &mut Vec<u8>) -> Option<End> {
        if let Some(transcript) = &mut self.transcript {
            transcript.note(&event);
        }
        let end = (event == Event::End).then_some(End::Done);
        self.encoder.encode(event, out);
        end
    }
}

/// About how many tokens a piece of content has.
fn tokens(event: &Event) -> u64 {
    match event {
        Event::Text { text, .. }
        | Event::Thought { text, .. }
        | Event::Refusal { text, .. }
        | Event::CallArguments { text, .. } => tokens_in(text),
        _ => 1,
    }
}
