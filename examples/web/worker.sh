#!/bin/sh
# The side container: every second it reports a round to the web application, which it reaches by
# the port published on its host.
trap 'echo "worker: asked to stop"; exit 0' TERM
host=$(ip route | awk '/^default/ { print $3 }')
echo "worker: reporting to http://$host:$PORT"
while :; do
    wget -q -O - "http://$host:$PORT/round" || echo "worker: no answer yet"
    sleep 1 &
    wait $!
done
