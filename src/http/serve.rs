//! Listening: HTTP/1, with or without TLS, limits on connections and on slow headers, and an end that lets requests under way finish.

use std::io;
use std::net::{SocketAddr, TcpListener};

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsAcceptor;
use hyper_util::rt::TokioTimer;

use super::connections::Bounded;
use super::tls::Tls;
use crate::config;

/// So many bytes of answers wait in the system for one client that does not take them. Unless told, Linux lets that grow to megabytes, which thousands of such clients
/// would have the service fill.
#[cfg(unix)]
const WAITING: usize = 256 << 10;

/// Answers requests on `listener`, which speaks HTTPS where there is a certificate, until `shutdown` is done; then takes no more, and waits for those under way as long as the
/// settings grant.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    settings: &config::Server,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    #[cfg(unix)]
    rustix::net::sockopt::set_socket_send_buffer_size(&listener, WAITING)?;
    let handle: Handle<SocketAddr> = Handle::new();
    let mut server = axum_server::from_tcp(listener)?.handle(handle.clone()).http1_only();
    // Without a timer hyper does not enforce the timeout.
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout())
        .max_buf_size(64 * 1024);
    let patience = settings.drain_timeout();
    let stopping = tokio::spawn(async move {
        shutdown.await;
        tracing::info!(?patience, "stopping: no new requests, waiting for those under way");
        handle.graceful_shutdown(Some(patience));
    });
    let router = router.into_make_service();
    let bounded = Bounded::new(settings.max_connections, settings.body_timeout());
    let outcome = match tls {
        Some(tls) => {
            // A handshake takes as long as the headers may: a client that says nothing is let go.
            let acceptor = RustlsAcceptor::new(tls.config.clone());
            let acceptor = acceptor.handshake_timeout(settings.header_timeout()).acceptor(bounded);
            let following = tokio::spawn(tls.follow());
            let outcome = server.acceptor(acceptor).serve(router).await;
            following.abort();
            outcome
        }
        None => server.acceptor(bounded).serve(router).await,
    };
    stopping.abort();
    outcome
}

/// Done when the process is asked to end: SIGTERM, or the interrupt key.
pub async fn stop_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
