#!/bin/sh
# Writes the two configuration files that hold secrets, then becomes Asterisk.
#
#   ASTERISK_ARI_PASSWORD  required; what Asterscribe logs in with
#   SIP_PHONE_PASSWORD     optional; creates the SIP account 6001 with it
set -eu
umask 077

# In Asterisk's files a semicolon starts a comment and a line break ends a value.
escaped() {
    case $1 in
        *'
'*) echo "asterisk: a password must not contain a line break" >&2; exit 1 ;;
    esac
    printf '%s' "$1" | sed 's/;/\\;/g'
}

if [ -z "${ASTERISK_ARI_PASSWORD:-}" ]; then
    echo "asterisk: ASTERISK_ARI_PASSWORD is not set; there is no default" >&2
    exit 1
fi
ari_password=$(escaped "$ASTERISK_ARI_PASSWORD")
cat >/etc/asterisk/ari-asterscribe-user.conf <<CONF
[${ASTERISK_ARI_USER:-asterscribe}]
type = user
read_only = no
password_format = plain
password = $ari_password
CONF

rm -f /etc/asterisk/pjsip-phones.conf
if [ -n "${SIP_PHONE_PASSWORD:-}" ]; then
    phone_password=$(escaped "$SIP_PHONE_PASSWORD")
    cat >/etc/asterisk/pjsip-phones.conf <<CONF
[6001](phone)
auth = 6001
aors = 6001

[6001]
type = auth
username = 6001
password = $phone_password

[6001]
type = aor
max_contacts = 2
CONF
fi

exec "$@"
