//! A stream through a provider's decoder and the client's encoder.
//!
//! All that one read of the provider tells goes to the client in one write.

use super::Ctx;
use super::attempt::Open;
use super::dispatch::stopping;
use super::relay::{Broken, End, Expected, broken, next_piece, write};
use super::translate;
use crate::chat::{Decoder, Encoder, Event};
use crate::error::GatewayError;
use crate::table::Provider;
use bytes::Bytes;
use pingora_proxy::Session;

/// A stream under translation.
pub struct Translation<'a> {
    ctx: &'a mut Ctx,
    provider: &'a Provider,
    decoder: Box<dyn Decoder>,
    encoder: Box<dyn Encoder>,
    open: Open,
}

impl<'a> Translation<'a> {
    pub fn new(
        ctx: &'a mut Ctx,
        expected: &Expected,
        provider: &'a Provider,
        decoder: Box<dyn Decoder>,
        open: Open,
    ) -> Self {
        let encoder = expected.voice.encoder();
        Self {
            ctx,
            provider,
            decoder,
            encoder,
            open,
        }
    }

    /// Passes the stream on; `events` are those that were decoded before.
    pub async fn relay(&mut self, session: &mut Session, mut events: Vec<Event>) -> End {
        let idle = self.provider.timeouts.idle;
        loop {
            if let Some(end) = self.pass(session, &mut events).await {
                return end;
            }
            let piece = next_piece(session, self.ctx, &mut self.open, idle).await;
            let decoded = match piece {
                Ok(Some(piece)) => self.decoder.push(piece, &mut events),
                Ok(None) => self
                    .decoder
                    .end(&mut events)
                    .map(|()| events.push(Event::End)),
                Err(Broken::Gone) => return End::Gone,
                Err(Broken::Stopping) => {
                    return End::Broken(stopping().because("grace period over"));
                }
                Err(Broken::Upstream(why)) => return End::Broken(broken(&why)),
            };
            if let Err(e) = decoded {
                // What came before the break still goes out.
                if let Some(end) = self.pass(session, &mut events).await {
                    return end;
                }
                return End::Broken(broken(&e.to_string()));
            }
        }
    }

    /// Writes what `events` tell; `Some` when that was the end.
    async fn pass(&mut self, session: &mut Session, events: &mut Vec<Event>) -> Option<End> {
        let mut out = Vec::new();
        let mut end = None;
        for event in events.drain(..) {
            match event {
                Event::Failed(failure) => {
                    let error = translate::failed(failure, self.provider)
                        .because("the provider reported an error in its stream");
                    end = Some(End::Broken(error));
                    break;
                }
                Event::End => {
                    self.encoder.encode(Event::End, &mut out);
                    end = Some(End::Done);
                    break;
                }
                event => self.encoder.encode(event, &mut out),
            }
        }
        if !out.is_empty() {
            let down = &mut session.downstream_session;
            if write(down, self.ctx, Bytes::from(out), false)
                .await
                .is_err()
            {
                return Some(End::Gone);
            }
        }
        end
    }

    /// The connection, and how the client is told of an error.
    pub fn finish(self) -> (Open, impl FnOnce(&GatewayError) -> Vec<u8> + use<>) {
        let mut encoder = self.encoder;
        let fail = move |error: &GatewayError| {
            let mut out = Vec::new();
            encoder.fail(error, &mut out);
            out
        };
        (self.open, fail)
    }
}
