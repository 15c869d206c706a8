/* Included before every file of the self-test: what a layer fires is handed out. */
void model_trace(int layer, const void *values);
#define MODEL_SELFTEST
#define MODEL_TRACE(layer, values) model_trace(layer, values)
