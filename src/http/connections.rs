//! Connections: how many there may be, and how long a client may take to take what it asked for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Open files besides the connections of clients: the database's, the artifacts of models, those to providers.
const OTHER_FILES: u64 = 256;

/// Lets in as many connections as there is room for, and closes the others at once.
#[derive(Clone)]
pub struct Bounded {
    room: Arc<Semaphore>,
    patience: Duration,
}

impl Bounded {
    /// At most `most` connections, or as many as this process may have files open. A client that takes nothing of an answer for as long as `patience` is let go.
    pub fn new(most: usize, patience: Duration) -> Self {
        let files = raise_open_files(most as u64 + OTHER_FILES);
        let room = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).clamp(1, most);
        if room < most {
            tracing::warn!(
                room,
                wanted = most,
                "the system lets this process open fewer files than server.max_connections needs"
            );
        }
        Self { room: Arc::new(Semaphore::new(room)), patience }
    }
}

/// Lets this process have so many files open, as far as the system allows; how many it may have then.
#[cfg(unix)]
fn raise_open_files(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let possible = now.maximum.map_or(wanted, |most| most.min(wanted));
    if now.current.is_some_and(|current| current < possible)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(possible), maximum: now.maximum })
    {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn raise_open_files(wanted: u64) -> u64 {
    wanted
}

impl<S> Accept<TcpStream, S> for Bounded {
    type Stream = Connection<TcpStream>;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let connected = Arc::clone(&self.room).try_acquire_owned().map_err(io::Error::other).and_then(|place| {
            // An answer is written at once: nothing is gained by waiting for more to send.
            stream.set_nodelay(true)?;
            Ok((Connection { stream, patience: self.patience, deadline: None, _place: Some(place) }, service))
        });
        std::future::ready(connected)
    }
}

/// A connection that holds a place. It breaks when the other side has taken nothing for too long: hyper would wait for ever.
pub struct Connection<T> {
    stream: T,
    patience: Duration,
    /// When the write that is waiting has waited for too long.
    deadline: Option<Pin<Box<Sleep>>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<T> Connection<T> {
    /// Whether something came of a write, or else whether the time for it is over.
    fn in_time<R>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.in_time(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn who_takes_nothing_is_let_go_and_who_takes_a_little_is_not() {
        let patience = Duration::from_secs(1);
        let connection = |stream| Connection { stream, patience, deadline: None, _place: None };
        let (client, server) = tokio::io::duplex(10);
        let broken = connection(server).write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::TimedOut);
        drop(client);

        let (mut client, server) = tokio::io::duplex(10);
        let reading = tokio::spawn(async move {
            // Longer than that in all.
            for _ in 0..5 {
                sleep(patience * 3 / 10).await;
                client.read_exact(&mut [0; 10]).await.unwrap();
            }
        });
        connection(server).write_all(&[0; 50]).await.unwrap();
        reading.await.unwrap();
    }
}
