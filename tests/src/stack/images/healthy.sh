# A plugin in the shell: says every second that it is healthy, and ends when it is told to.
trap 'echo goodbye; exit 0' TERM
echo "$PLUGIN_ID starts"
while :; do
  mosquitto_pub -h "$MQTT_HOST" -p "$MQTT_PORT" -u "$MQTT_USERNAME" -P "$MQTT_PASSWORD" -i "$PLUGIN_ID" -q 1 \
    -t "bigskies/plugin/$PLUGIN_ID/health" \
    -m '{"id":"1","source":"plugin:'"$PLUGIN_ID"'","type":"status","timestamp":"2026-01-16T00:00:00Z","payload":{"component":"script","status":"healthy","message":"well","details":{}}}'
  sleep 1 &
  wait $!
done
