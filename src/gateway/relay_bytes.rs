//! An answer that is no stream of events: a sound, an image, a file.

use super::attempt::Open;
use super::relay::write;
use super::watch::{Broken, Watch};
use super::{Ctx, Gateway, Stop};
use crate::error::{ErrorKind, GatewayError};
use crate::telemetry::AttemptOutcome;
use bytes::Bytes;
use pingora_proxy::Session;

/// Passes bytes on that have no events. A break cannot be told in band, so the
/// client's connection is broken too.
pub(super) async fn run(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    mut watch: Watch,
    first: Option<Bytes>,
    mut open: Open,
) -> Result<(), Stop> {
    let mut piece = first;
    while let Some(bytes) = piece {
        // Nobody tells what such an answer used.
        ctx.tally.piece(bytes.len());
        if let Err(stop) = write(&mut session.downstream_session, ctx, bytes, false).await {
            open.cancel().await;
            ctx.serving_turned(AttemptOutcome::Canceled);
            return Err(stop);
        }
        piece = match watch.next(session, ctx, &mut open).await {
            Ok(piece) => piece,
            Err(Broken::Gone) => {
                open.cancel().await;
                ctx.serving_turned(AttemptOutcome::Canceled);
                return Err(Stop::Gone);
            }
            Err(Broken::Over(error)) => {
                open.cancel().await;
                ctx.serving_turned(AttemptOutcome::Truncated);
                return Err(Stop::Cut(Some(error)));
            }
            Err(Broken::Upstream(why)) => {
                open.cancel().await;
                ctx.lost();
                let text = "The provider's answer broke off.";
                return Err(Stop::Cut(Some(
                    GatewayError::new(ErrorKind::UpstreamError, text).because(why),
                )));
            }
        };
    }
    write(&mut session.downstream_session, ctx, Bytes::new(), true).await?;
    open.release(&gateway.connector).await;
    Ok(())
}
