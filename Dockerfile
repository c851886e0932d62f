# syntax=docker/dockerfile:1

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && install -D target/release/medley /out/medley && mkdir /out/data

# glibc, CA certificates and nothing else: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/medley /usr/local/bin/medley
# Of the image's user, 65532, so that a new volume belongs to it.
COPY --from=build --chown=65532:65532 /out/data /data
ENV MEDLEY_SERVER__ADDRESS=0.0.0.0:8080 \
    MEDLEY_SERVER__DATA_DIR=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/medley", "health"]
ENTRYPOINT ["/usr/local/bin/medley"]
CMD ["serve"]
