# A throw-away plugin: half a second (or FIRST seconds) after its start it says that it is healthy, and again every second. It ends
# when it is told to, or at once with DRILL_ENDS.
trap 'exit 0' TERM
[ -z "$DRILL_ENDS" ] || exit 3
sleep "${FIRST:-0.5}" &
wait $!
while :; do
  mosquitto_pub -h "$MQTT_HOST" -p "$MQTT_PORT" -u "$MQTT_USERNAME" -P "$MQTT_PASSWORD" -i "$PLUGIN_ID" -q 1 \
    -t "bigskies/plugin/$PLUGIN_ID/health" \
    -m '{"id":"1","source":"plugin:'"$PLUGIN_ID"'","type":"status","timestamp":"2026-01-16T00:00:00Z","payload":{"component":"script","status":"healthy","message":"well","details":{}}}'
  sleep 1 &
  wait $!
done
