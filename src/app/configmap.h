/* The command `configmap`: the single file prints itself as a Kubernetes ConfigMap. */
#ifndef ASYA_APP_CONFIGMAP_H
#define ASYA_APP_CONFIGMAP_H

/*
 * Reads the file `program` and writes a ConfigMap with the one key asya_runtime.py to standard output, in YAML that any
 * YAML 1.1 or 1.2 parser reads back as the same bytes.
 *
 *   --name NAME            default asya-runtime; an RFC 1123 subdomain, as Kubernetes wants names
 *   --namespace NAMESPACE  default: none, kubectl's own; an RFC 1123 label
 *
 * Returns EXIT_OK; EXIT_OPTION for a wrong argument; EXIT_FAILED if `program` is not the single file (the installed
 * package has none that could run alone), or if the output cannot be written.
 */
int configmap_run(const char *program, int count, const char *const *arguments);

#endif
