# Asterscribe. Builds with the classic builder and with BuildKit.
#
#   docker build -t asterscribe .
#   docker run --network host -e API_AUTH_TOKEN=... -e ASTERISK_ARI_URL=http://127.0.0.1:8088 \
#     -e ASTERISK_ARI_USER=asterscribe -e ASTERISK_ARI_PASSWORD=... asterscribe
#
# Settings are environment variables; .env.example explains each. HTTP_BIND is
# 127.0.0.1:8000 unless set: a server that listens beyond loopback, as it must
# when its port is published, refuses to start without API_AUTH_TOKEN.

FROM rust:1.95-bookworm AS builder
# cmake and a C++ compiler for whisper.cpp; libopus, found by pkg-config.
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake g++ libopus-dev make pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package asterscribe --bin asterscribe \
 && strip --strip-debug target/release/asterscribe

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libgomp1 libopus0 libstdc++6 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/asterscribe asterscribe \
 && install -d -o asterscribe -g asterscribe -m 0750 /var/lib/asterscribe \
 && install -d -m 0755 /models
COPY --from=builder /src/target/release/asterscribe /usr/local/bin/asterscribe
COPY LICENSE /usr/share/doc/asterscribe/copyright

USER asterscribe
WORKDIR /var/lib/asterscribe
# The demo model is part of the program: 120 words, synthetic voices, for trying
# things out only. Mount real models at /models and name one with
# WHISPER_MODEL_SIZE or WHISPER_MODEL.
ENV SQLITE_PATH=/var/lib/asterscribe/asterscribe.db \
    WHISPER_MODELS_DIR=/models
VOLUME ["/var/lib/asterscribe", "/models"]
# REST API, and RTP from Asterisk.
EXPOSE 8000/tcp 40000/udp
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["asterscribe", "healthcheck"]
ENTRYPOINT ["asterscribe"]
CMD ["serve"]
