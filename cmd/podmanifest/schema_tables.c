/* SPDX-License-Identifier: Apache-2.0 */
/* k8s.io/api/core/v1 as of 1.36, as far as a node has to do with it. */
#include "schema.h"

#include <stddef.h>

#define STR(name) \
	{ \
		name, K_STRING, NULL, NULL \
	}
#define INT(name) \
	{ \
		name, K_INT, NULL, NULL \
	}
#define BOOL(name) \
	{ \
		name, K_BOOL, NULL, NULL \
	}
#define STRINGS(name) \
	{ \
		name, K_STRINGS, NULL, NULL \
	}
#define MAP(name) \
	{ \
		name, K_MAP, NULL, NULL \
	}
#define ANY(name) \
	{ \
		name, K_ANY, NULL, NULL \
	}
#define OBJECT(name, sub) \
	{ \
		name, K_OBJECT, sub, NULL \
	}
#define LIST(name, sub) \
	{ \
		name, K_LIST, sub, NULL \
	}
#define CANNOT(name, why) \
	{ \
		name, K_ANY, NULL, why \
	}
#define END \
	{ \
		NULL, K_ANY, NULL, NULL \
	}

typedef const struct schema_field table[];

table schema_meta = {STR("name"), STR("namespace"), STR("uid"), MAP("labels"), MAP("annotations"),
		     /* Of the API server and of controllers. */
		     STR("generateName"), ANY("creationTimestamp"), ANY("deletionTimestamp"),
		     INT("deletionGracePeriodSeconds"), ANY("resourceVersion"), ANY("generation"),
		     ANY("ownerReferences"), ANY("managedFields"), ANY("finalizers"),
		     ANY("selfLink"), END};

static table key_ref = {STR("name"), STR("key"), BOOL("optional"), END};
static table field_ref = {STR("apiVersion"), STR("fieldPath"), END};
static table resource_ref = {
	STR("containerName"), STR("resource"), {"divisor", K_QUANTITY, NULL, NULL}, END};
static table value_from = {
	OBJECT("fieldRef", field_ref),
	OBJECT("resourceFieldRef", resource_ref),
	OBJECT("configMapKeyRef", key_ref),
	OBJECT("secretKeyRef", key_ref),
	CANNOT("fileKeyRef", "a file of a volume is written when containers run"),
	END};
static table env = {STR("name"), STR("value"), OBJECT("valueFrom", value_from), END};
static table env_source = {STR("name"), BOOL("optional"), END};
static table env_from = {STR("prefix"), OBJECT("configMapRef", env_source),
			 OBJECT("secretRef", env_source), END};

static table port = {STR("name"),     INT("hostPort"), INT("containerPort"),
		     STR("protocol"), STR("hostIP"),   END};
static table resources = {{"limits", K_QUANTITIES, NULL, NULL},
			  {"requests", K_QUANTITIES, NULL, NULL},
			  CANNOT("claims", "needs drivers of dynamic resources"),
			  END};
static table volume_mount = {
	STR("name"),        STR("mountPath"),        BOOL("readOnly"),         STR("subPath"),
	STR("subPathExpr"), STR("mountPropagation"), STR("recursiveReadOnly"), END};

static table exec_action = {STRINGS("command"), END};
static table header = {STR("name"), STR("value"), END};
static table http_action = {STR("path"),   {"port", K_PORT, NULL, NULL}, STR("host"),
			    STR("scheme"), LIST("httpHeaders", header),  END};
static table tcp_action = {{"port", K_PORT, NULL, NULL}, STR("host"), END};
static table grpc_action = {INT("port"), STR("service"), END};
static table sleep_action = {INT("seconds"), END};
static table probe = {OBJECT("exec", exec_action),
		      OBJECT("httpGet", http_action),
		      OBJECT("tcpSocket", tcp_action),
		      OBJECT("grpc", grpc_action),
		      INT("initialDelaySeconds"),
		      INT("timeoutSeconds"),
		      INT("periodSeconds"),
		      INT("successThreshold"),
		      INT("failureThreshold"),
		      INT("terminationGracePeriodSeconds"),
		      END};
static table handler = {OBJECT("exec", exec_action), OBJECT("httpGet", http_action),
			OBJECT("tcpSocket", tcp_action), OBJECT("sleep", sleep_action), END};
static table lifecycle = {OBJECT("postStart", handler), OBJECT("preStop", handler),
			  STR("stopSignal"), END};

static table capabilities = {STRINGS("add"), STRINGS("drop"), END};
static table selinux = {STR("user"), STR("role"), STR("type"), STR("level"), END};
static table profile = {STR("type"), STR("localhostProfile"), END};
static const char windows[] = "is for Windows";
static table security = {OBJECT("capabilities", capabilities),
			 BOOL("privileged"),
			 OBJECT("seLinuxOptions", selinux),
			 CANNOT("windowsOptions", windows),
			 INT("runAsUser"),
			 INT("runAsGroup"),
			 BOOL("runAsNonRoot"),
			 BOOL("readOnlyRootFilesystem"),
			 BOOL("allowPrivilegeEscalation"),
			 STR("procMount"),
			 OBJECT("seccompProfile", profile),
			 OBJECT("appArmorProfile", profile),
			 END};
static table sysctl = {STR("name"), STR("value"), END};
static table pod_security = {OBJECT("seLinuxOptions", selinux),
			     CANNOT("windowsOptions", windows),
			     INT("runAsUser"),
			     INT("runAsGroup"),
			     BOOL("runAsNonRoot"),
			     {"supplementalGroups", K_ANY, NULL, NULL}, /* numbers: security.c */
			     STR("supplementalGroupsPolicy"),
			     INT("fsGroup"),
			     LIST("sysctls", sysctl),
			     STR("fsGroupChangePolicy"),
			     OBJECT("seccompProfile", profile),
			     OBJECT("appArmorProfile", profile),
			     STR("seLinuxChangePolicy"),
			     END};

static table container = {STR("name"),
			  STR("image"),
			  STRINGS("command"),
			  STRINGS("args"),
			  STR("workingDir"),
			  LIST("ports", port),
			  LIST("envFrom", env_from),
			  LIST("env", env),
			  OBJECT("resources", resources),
			  ANY("resizePolicy"),
			  STR("restartPolicy"),
			  CANNOT("restartPolicyRules", "only the policy itself is followed"),
			  LIST("volumeMounts", volume_mount),
			  CANNOT("volumeDevices", "a claim's block device is the cluster's"),
			  OBJECT("livenessProbe", probe),
			  OBJECT("readinessProbe", probe),
			  OBJECT("startupProbe", probe),
			  OBJECT("lifecycle", lifecycle),
			  STR("terminationMessagePath"),
			  STR("terminationMessagePolicy"),
			  STR("imagePullPolicy"),
			  OBJECT("securityContext", security),
			  BOOL("stdin"),
			  BOOL("stdinOnce"),
			  BOOL("tty"),
			  END};

static table item = {STR("key"), STR("path"), INT("mode"), END};
static table down_item = {STR("path"), OBJECT("fieldRef", field_ref),
			  OBJECT("resourceFieldRef", resource_ref), INT("mode"), END};
static table empty_dir = {STR("medium"), {"sizeLimit", K_QUANTITY, NULL, NULL}, END};
static table host_path = {STR("path"), STR("type"), END};
static table config_map = {STR("name"), LIST("items", item), INT("defaultMode"), BOOL("optional"),
			   END};
static table secret = {STR("secretName"), LIST("items", item), INT("defaultMode"), BOOL("optional"),
		       END};
static table downward = {LIST("items", down_item), INT("defaultMode"), END};
static table image = {STR("reference"), STR("pullPolicy"), END};
static table part_ref = {STR("name"), LIST("items", item), BOOL("optional"), END};
static const char token[] = "a token is the API server's to give";
static table part = {OBJECT("secret", part_ref),
		     OBJECT("configMap", part_ref),
		     OBJECT("downwardAPI", downward),
		     CANNOT("serviceAccountToken", token),
		     CANNOT("clusterTrustBundle", "is the API server's to give"),
		     CANNOT("podCertificate", "is the API server's to give"),
		     END};
static table projected = {LIST("sources", part), INT("defaultMode"), END};
/* Other sources are found by volumes.c, which knows whether --volume stands in for them. */
static table volume = {STR("name"),
		       OBJECT("emptyDir", empty_dir),
		       OBJECT("hostPath", host_path),
		       OBJECT("configMap", config_map),
		       OBJECT("secret", secret),
		       OBJECT("downwardAPI", downward),
		       OBJECT("projected", projected),
		       OBJECT("image", image),
		       ANY("persistentVolumeClaim"),
		       ANY("ephemeral"),
		       ANY("csi"),
		       ANY("nfs"),
		       ANY("iscsi"),
		       ANY("cephfs"),
		       ANY("rbd"),
		       ANY("fc"),
		       ANY("glusterfs"),
		       ANY("gitRepo"),
		       ANY("awsElasticBlockStore"),
		       ANY("gcePersistentDisk"),
		       ANY("azureDisk"),
		       ANY("azureFile"),
		       ANY("flexVolume"),
		       ANY("cinder"),
		       ANY("vsphereVolume"),
		       ANY("portworxVolume"),
		       ANY("scaleIO"),
		       ANY("storageos"),
		       ANY("quobyte"),
		       ANY("photonPersistentDisk"),
		       ANY("flocker"),
		       END};

static table dns_option = {STR("name"), STR("value"), END};
static table dns = {STRINGS("nameservers"), STRINGS("searches"), LIST("options", dns_option), END};
static table host_alias = {STR("ip"), STRINGS("hostnames"), END};
static table os = {STR("name"), END};

table schema_spec = {
	LIST("containers", container),
	LIST("initContainers", container),
	CANNOT("ephemeralContainers", "are for a pod that runs already"),
	LIST("volumes", volume),
	STR("restartPolicy"),
	INT("terminationGracePeriodSeconds"),
	CANNOT("activeDeadlineSeconds", "nobody ends the pod when its time is over"),
	STR("dnsPolicy"),
	OBJECT("dnsConfig", dns),
	STR("serviceAccountName"),
	STR("nodeName"),
	BOOL("hostNetwork"),
	BOOL("hostPID"),
	BOOL("hostIPC"),
	BOOL("hostUsers"),
	BOOL("shareProcessNamespace"),
	OBJECT("securityContext", pod_security),
	CANNOT("imagePullSecrets", "ocipull has credentials of its own (ocipull(1))"),
	STR("hostname"),
	STR("hostnameOverride"),
	STR("subdomain"),
	BOOL("setHostnameAsFQDN"),
	LIST("hostAliases", host_alias),
	STR("priorityClassName"),
	STR("runtimeClassName"),
	{"overhead", K_QUANTITIES, NULL, NULL},
	OBJECT("os", os),
	CANNOT("resources",
	       "limits of the whole pod are its control group's, which a kubelet makes"),
	CANNOT("resourceClaims", "needs drivers of dynamic resources"),
	/* The scheduler's and the API server's. */
	ANY("serviceAccount"),
	ANY("automountServiceAccountToken"),
	ANY("nodeSelector"),
	ANY("affinity"),
	ANY("schedulerName"),
	ANY("tolerations"),
	ANY("priority"),
	ANY("preemptionPolicy"),
	ANY("topologySpreadConstraints"),
	ANY("schedulingGates"),
	ANY("schedulingGroup"),
	ANY("workloadRef"),
	ANY("readinessGates"),
	ANY("enableServiceLinks"),
	END};
