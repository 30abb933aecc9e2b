#!/bin/bash
# Healthy is: ARI answers a ping to the user that Asterscribe will use. The web
# server opens before Asterisk is ready, so an open port says too little.
set -euo pipefail

login=$(printf '%s:%s' "${ASTERISK_ARI_USER:-asterscribe}" "$ASTERISK_ARI_PASSWORD" | base64 -w 0)
exec 3<>/dev/tcp/127.0.0.1/8088
printf 'GET /ari/asterisk/ping HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\nConnection: close\r\n\r\n' "$login" >&3
read -r -t 3 status <&3
case $status in
    "HTTP/1.1 200"*) ;;
    *) echo "ARI answered: $status"; exit 1 ;;
esac
